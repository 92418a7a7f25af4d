"""Figures of records at the width of a journal's column, each with its rows."""
