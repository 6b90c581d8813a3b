"""The report of a search: one HTML page of what was found, how, and at what cost."""
