"""Benchmarks of all figures of speed, memory and results in README and EXPERIMENTS.md: ``make bench``."""
