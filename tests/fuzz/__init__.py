"""Damaged files by the thousand: each gives its true count or a reason.

`python -m tests.fuzz` runs it and prints a table; `tests/test_fuzz.py` runs a little of
it. Every file follows from its format, a seed and a number.
"""
