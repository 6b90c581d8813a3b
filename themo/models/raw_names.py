"""Suffixes of RAW files of cameras, and the package that reads them."""

RAW_SUFFIXES = frozenset((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"))
"""Suffixes in lower case. By content, many RAW files are TIFF files whose first picture is a thumbnail."""
RAW_COMMAND = "pip install rawpy"
