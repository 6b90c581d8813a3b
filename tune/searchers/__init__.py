"""What to try next: each searcher by name, as a pure function of the seed and of the trials so far."""
