"""Every figure that README and EXPERIMENTS.md give of Themo's speed, memory and results: ``make bench``."""
