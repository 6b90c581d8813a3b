"""The search space: dimensions, and the settings of the search."""
