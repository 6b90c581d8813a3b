"""Confirmation of a search's winner by a sequential paired test over further seeds."""
