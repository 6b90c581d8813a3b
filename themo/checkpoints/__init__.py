"""Version directories: writing, reading and resuming them."""
