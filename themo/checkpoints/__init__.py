"""Version directories: written, read, resumed."""
