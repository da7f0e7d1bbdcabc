"""The base of all other rooms: errors, the contract, times, names of places. Knows no store."""
