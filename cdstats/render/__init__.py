"""Floor 2: records as tables in all output formats, and as figures."""
