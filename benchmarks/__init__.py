"""Benchmarks behind every figure of speed, memory and results in README and EXPERIMENTS.md: ``make bench``."""
