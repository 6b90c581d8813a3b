"""Themo: a Spanish text encoder for CLIP, distilled from its English text tower."""

__version__ = "0.1.0"
