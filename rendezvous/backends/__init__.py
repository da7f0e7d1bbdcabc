"""The backends, which keep the state of a rendezvous: one module each, imported at first use. The
contract is in _base/backend.py."""
