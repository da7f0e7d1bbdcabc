"""One node's part in a round: where it is reached, what it leaves in the store."""
