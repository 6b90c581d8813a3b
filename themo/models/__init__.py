"""Teacher, student and baselines: how each is loaded and encodes."""
