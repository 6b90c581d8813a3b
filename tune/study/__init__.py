"""The record of a search: its directory, its trials and their reports."""
