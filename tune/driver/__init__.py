"""The driver of a search: its session, its loop, and the adapters for Ray Tune."""
