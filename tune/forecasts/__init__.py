"""Forecasts of learning curves, from the reports of all trials."""
