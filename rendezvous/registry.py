"""Backends by name, and the one call by which a launcher gets a handler.

`c10d`, `etcd` and `etcd-v3` (the same) are known from the start; what they need is imported when it
is asked for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from rendezvous.api import RendezvousHandler, RendezvousParameters

if TYPE_CHECKING:
    from rendezvous.backends._open import StoreConnection

__all__ = [
    "RendezvousHandlerCreator",
    "RendezvousHandlerRegistry",
    "create_c10d_handler",
    "create_etcd_handler",
    "get_rendezvous_handler",
    "rendezvous_handler_registry",
]

RendezvousHandlerCreator: TypeAlias = Callable[[RendezvousParameters], RendezvousHandler]


class RendezvousHandlerRegistry:
    """Which creator makes the handlers of which backend."""

    def __init__(self) -> None:
        self._creators: dict[str, RendezvousHandlerCreator] = {}

    def register(self, backend: str, creator: RendezvousHandlerCreator) -> None:
        """Remember a creator. The same one may be registered again.

        Raises ValueError for an empty name, and for a name that another creator has.
        """
        if not backend:
            raise ValueError("the backend's name is empty")
        known = self._creators.setdefault(backend, creator)
        if known != creator:
            raise ValueError(
                f"cannot register {creator!r} for the backend {backend!r}, which {known!r} has"
            )

    def create_handler(self, params: RendezvousParameters) -> RendezvousHandler:
        """Make the handler that `params.backend` names.

        Raises ValueError for an unknown backend, RuntimeError when the creator made a handler of
        another backend, and what the creator raises.
        """
        creator = self._creators.get(params.backend)
        if creator is None:
            known = ", ".join(sorted(self._creators)) or "none"
            raise ValueError(
                f"the rendezvous backend {params.backend!r} is not registered (known: {known}); "
                "check its spelling, or register its creator first"
            )
        handler = creator(params)
        made = handler.get_backend()
        if made != params.backend:
            raise RuntimeError(
                f"the creator registered for the backend {params.backend!r} made a handler of "
                f"{made!r}"
            )
        return handler


def create_c10d_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Host or reach the store that the endpoint names, and make a handler over it.

    The handler owns what was opened: `shutdown` closes it. Configuration: see
    `rendezvous.backends._open.open_store` and `rendezvous._create.create_handler`.
    """
    from rendezvous._create import create_handler
    from rendezvous.backends.c10d import open_backend

    backend, connection = open_backend(params)
    try:
        return create_handler(connection.store, backend, params, connection)
    except BaseException:
        connection.close()
        raise


def create_etcd_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Make a handler over the etcd cluster that the endpoint names.

    Configuration: see `rendezvous.backends.etcd._open` and `rendezvous._create.create_handler`.
    """
    from rendezvous._create import create_handler
    from rendezvous.backends.etcd._open import open_backend

    backend, connection = open_backend(params)
    try:
        # It has all that a handler uses of one.
        owned = cast("StoreConnection", connection)
        return create_handler(connection.store, backend, params, owned)
    except BaseException:
        connection.close()
        raise


rendezvous_handler_registry = RendezvousHandlerRegistry()
rendezvous_handler_registry.register("c10d", create_c10d_handler)
for _name in ("etcd", "etcd-v3"):
    rendezvous_handler_registry.register(_name, create_etcd_handler)


def get_rendezvous_handler(params: RendezvousParameters) -> RendezvousHandler:
    """A handler of the backend that the parameters name; raises as the registry's method."""
    return rendezvous_handler_registry.create_handler(params)
