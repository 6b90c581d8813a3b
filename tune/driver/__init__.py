"""The driver of a search: a session, its loop, and what Ray Tune asks of it."""
