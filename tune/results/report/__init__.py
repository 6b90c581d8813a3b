"""The report of a search: one HTML page with its results, its trials and its cost."""
