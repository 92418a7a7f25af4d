"""Floor 2: how work items run."""
