"""The record of a search: trials, reports, directory."""
