"""Where a rendezvous keeps its state: the contract in _base/backend.py, one module a backend.
Imported when asked for."""
