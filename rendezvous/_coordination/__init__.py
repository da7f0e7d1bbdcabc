"""A node's line to its group: the interface, and two of the ways of keeping a run."""
