"""Whether a search's winner is better: a sequential paired test over further seeds."""
