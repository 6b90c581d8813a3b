"""Results of a search: best trials, tables, live view, report."""
