"""What the benchmarks share: servers as processes, the load driver, runs in turn, reports."""
