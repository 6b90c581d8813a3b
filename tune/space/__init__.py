"""The search space: its dimensions, and the settings of the search."""
