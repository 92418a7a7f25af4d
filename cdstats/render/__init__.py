"""Floor 2: records as tables in every format, and as figures."""
