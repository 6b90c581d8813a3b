"""Scores of text encoders on images, their metrics and their report."""
