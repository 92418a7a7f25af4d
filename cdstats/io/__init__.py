"""Floor 2: from files to values and from paths to files."""
