"""Where a rendezvous keeps its state: the contract in base.py, one module a backend. Imported when
asked for."""
