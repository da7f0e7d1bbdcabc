"""`rendezvous exec`."""
