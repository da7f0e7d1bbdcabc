"""`rendezvous status`."""
