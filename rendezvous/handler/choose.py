"""Decides where the rulebook of a run runs.

Knows all the ways, but not their details.
"""

from rendezvous import _core
from rendezvous._base.backend import RendezvousBackend
from rendezvous._base.settings import RULEBOOKS
from rendezvous._coordination.by_server.run import ServerRun
from rendezvous._coordination.by_state.run import StoreRun
from rendezvous._coordination.coordinator import Coordinator, NodeSetup
from rendezvous.backends.c10d import C10dRendezvousBackend

__all__ = ["make_coordinator"]


def make_coordinator(rulebook: str, backend: RendezvousBackend, setup: NodeSetup) -> Coordinator:
    """A node's access to its group.

    Args:
        rulebook: `server`, `store` or `auto`; see DynamicRendezvousHandler.from_backend.

    Raises ValueError for another word, and for `server` over a store that has no such server.
    """
    if rulebook not in RULEBOOKS:
        raise ValueError(f"rulebook is {rulebook!r}; use {', '.join(map(repr, RULEBOOKS))}")
    own = getattr(backend, "coordinator", None)
    if rulebook == "auto" and own is not None:
        made: Coordinator = own(setup)
        return made
    store = _native_store(backend)
    if rulebook == "store" or (rulebook == "auto" and store is None):
        return StoreRun(backend, setup)
    if store is None:
        raise ValueError(
            f"rulebook is 'server', but the backend {backend.name!r} does not use a rendezvous "
            "server; use 'auto' or 'store'"
        )
    return ServerRun(store, setup)


def _native_store(backend: RendezvousBackend) -> _core.TCPStore | None:
    """The client of a server that knows runs, if that is what keeps the backend's state."""
    store = backend.store if isinstance(backend, C10dRendezvousBackend) else None
    if isinstance(store, _core.TCPStore) and store.protocol == "native":
        return store
    return None
