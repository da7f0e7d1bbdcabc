"""`rendezvous doctor`."""
