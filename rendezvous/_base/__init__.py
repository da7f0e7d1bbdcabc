"""What all stands on: errors, the contract, times, names of places. Knows no store."""
