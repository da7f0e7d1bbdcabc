"""A node's access to its group: the interface, and two ways of keeping a run."""
