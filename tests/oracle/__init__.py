"""An independent checker: it shares no code with the program that it checks."""
