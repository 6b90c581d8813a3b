"""Scoring of text encoders on images: metrics and reports."""
