"""Backends by name, and the one call by which a launcher gets a handler.

`c10d`, `static` and `etcd` (`etcd-v3` is the same) are registered from the start. Plug-ins are
searched only when their backend is requested (plugins.py). The modules of a backend are imported
only when a handler for it is created.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

from rendezvous._base.api import RendezvousHandler, RendezvousParameters
from rendezvous.handler.plugins import find_creator, plugin_names

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = [
    "RendezvousHandlerCreator",
    "RendezvousHandlerRegistry",
    "create_c10d_handler",
    "create_etcd_handler",
    "create_static_handler",
    "get_rendezvous_handler",
    "rendezvous_handler_registry",
]

RendezvousHandlerCreator: TypeAlias = Callable[[RendezvousParameters], RendezvousHandler]


class RendezvousHandlerRegistry:
    """Maps the name of each backend to the creator of its handlers.

    Args:
        plugins: whether to look for an unregistered backend among the entry points of the group
            `rendezvous.backends`.
    """

    def __init__(self, *, plugins: bool = False) -> None:
        self._creators: dict[str, RendezvousHandlerCreator] = {}
        self._plugins = plugins

    def __repr__(self) -> str:
        return f"<rendezvous.RendezvousHandlerRegistry of {', '.join(sorted(self._creators))}>"

    def register(self, backend: str, creator: RendezvousHandlerCreator) -> None:
        """Register the creator of a backend. Registering the same one again changes nothing.

        Raises ValueError for an empty name, and for a name that another creator has.
        """
        if not backend:
            raise ValueError("the name of the backend is empty")
        known = self._creators.setdefault(backend, creator)
        if known != creator:
            raise ValueError(
                f"cannot register {creator!r} for the backend {backend!r}: it already has {known!r}"
            )

    def create_handler(self, params: RendezvousParameters) -> RendezvousHandler:
        """Make a handler of the backend `params.backend`.

        Raises ValueError for an unknown backend; RuntimeError when a plug-in cannot be loaded, when
        several plug-ins have this backend, and when the creator made a handler for another backend;
        and whatever the creator raises.
        """
        creator = self._creators.get(params.backend)
        if creator is None and self._plugins:
            creator = find_creator(params.backend)
            if creator is not None:
                self._creators[params.backend] = creator
        if creator is None:
            names = {*self._creators, *(plugin_names() if self._plugins else ())} - _REFUSED
            known = ", ".join(sorted(names)) or "none"
            raise ValueError(
                f"the rendezvous backend {params.backend!r} is not registered (known: {known}); "
                "check its spelling, or register its creator first"
            )
        handler = creator(params)
        made = handler.get_backend()
        if made != params.backend:
            raise RuntimeError(
                f"the creator registered for the backend {params.backend!r} made a handler for "
                f"{made!r}"
            )
        return handler


def create_c10d_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Serve the store at the endpoint, or connect to it, and make a handler over it.

    The handler owns the store, and `shutdown` closes it. Configuration: see
    `rendezvous.backends.connection.open_store` and `rendezvous.handler.create.create_handler`.
    Raises ValueError for an unknown setting.
    """
    from rendezvous._base.settings import C10D_SETTINGS, refuse_unknown_settings
    from rendezvous.backends.c10d import open_backend
    from rendezvous.handler.create import create_handler

    refuse_unknown_settings(params, C10D_SETTINGS)
    backend, connection = open_backend(params)
    try:
        return create_handler(connection.store, backend, params, connection)
    except BaseException:
        connection.close()
        raise


def create_etcd_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Make a handler over the etcd cluster that the endpoint names.

    Configuration: see `rendezvous.backends.etcd.open` (its `open_client` and `open_backend`) and
    `rendezvous.handler.create.create_handler`. Raises ValueError for an unknown setting.
    """
    from rendezvous._base.settings import ETCD_SETTINGS, refuse_unknown_settings
    from rendezvous.backends.etcd.open import open_backend
    from rendezvous.handler.create import create_handler

    refuse_unknown_settings(params, ETCD_SETTINGS)
    backend, connection = open_backend(params)
    try:
        # It has everything that a handler uses of a StoreConnection.
        owned = cast("StoreConnection", connection)
        return create_handler(connection.store, backend, params, owned)
    except BaseException:
        connection.close()
        raise


def create_static_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Make a handler for a fixed number of nodes that already know their ranks.

    Configuration: see `rendezvous.backends.static.create_handler`. Raises ValueError for an unknown
    setting.
    """
    from rendezvous._base.settings import STATIC_SETTINGS, refuse_unknown_settings
    from rendezvous.backends.static import create_handler

    refuse_unknown_settings(params, STATIC_SETTINGS)
    return create_handler(params)


def _refuse_etcd_v2(params: RendezvousParameters) -> NoReturn:
    raise ValueError(
        f"the rendezvous backend {params.backend!r} used version 2 of etcd's API, which etcd 3.6 "
        "removed; use 'etcd' with the same endpoint: it uses version 3, with etcd 3.4 and later"
    )


# Names that are registered only to be refused, with an error that says what to use.
_REFUSED = {"etcd-v2"}

rendezvous_handler_registry = RendezvousHandlerRegistry(plugins=True)
rendezvous_handler_registry.register("c10d", create_c10d_handler)
rendezvous_handler_registry.register("static", create_static_handler)
for _name in ("etcd", "etcd-v3"):
    rendezvous_handler_registry.register(_name, create_etcd_handler)
for _name in _REFUSED:
    rendezvous_handler_registry.register(_name, _refuse_etcd_v2)


def get_rendezvous_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Make a handler of the backend that the parameters name.

    Raises the same errors as RendezvousHandlerRegistry.create_handler().
    """
    return rendezvous_handler_registry.create_handler(params)
