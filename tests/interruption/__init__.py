"""Runs that are killed: what they leave, and what the next run makes of it."""
