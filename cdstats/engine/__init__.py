"""Floor 2: running work items in this process, in workers or on a cluster."""
