"""The report of a test: one HTML page of what the student finds and what it does not know."""
