"""Sentence pairs and test sets: reading, cleaning, splitting and preparing them for training."""
