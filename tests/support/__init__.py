"""What several test files need: a faulty network, processes, peers that speak raw bytes."""
