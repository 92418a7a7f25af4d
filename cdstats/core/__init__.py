"""Floor 1: counts, sums, rules and losses as plain numbers; no files, no tensors."""
