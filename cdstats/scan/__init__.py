"""Floor 3: from masks to records."""
