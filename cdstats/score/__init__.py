"""Floor 3: from pairs of prediction and mask to records."""
