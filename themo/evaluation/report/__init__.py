"""The report of a test: one HTML page of scores, retrieved images and confused classes."""
