"""Sentence pairs and test sets: read, cleaned, split, and prepared for training."""
