"""Files on disk: atomic writes, caches, arrays, weights."""
