"""Runs that the nodes keep by compare-and-set of one state."""
