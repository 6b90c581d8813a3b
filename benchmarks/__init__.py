"""Benchmarks of the speed, memory and results stated in README and EXPERIMENTS.md: ``make bench``."""
