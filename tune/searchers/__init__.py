"""Searchers, which propose settings: pure functions of the seed and of the trials so far."""
