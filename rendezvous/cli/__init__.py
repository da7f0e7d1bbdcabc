"""The command `rendezvous`. One module a topic; `main` puts them together."""
