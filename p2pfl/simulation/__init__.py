"""Driver 2, virtual time: one heap, one seed, the same node."""
