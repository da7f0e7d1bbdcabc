"""Backends by name, and the one call by which a launcher gets a handler.

`c10d`, `static`, `etcd` and `etcd-v3` (the same) are known from the start, those of plug-ins
(plugins.py) when they are asked for; what a backend needs is imported then, too.
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
    """Which creator makes the handlers of which backend.

    Args:
        plugins: whether a backend that nobody has registered is looked for among the entry points
            of the group `rendezvous.backends`.
    """

    def __init__(self, *, plugins: bool = False) -> None:
        self._creators: dict[str, RendezvousHandlerCreator] = {}
        self._plugins = plugins

    def __repr__(self) -> str:
        return f"<rendezvous.RendezvousHandlerRegistry of {', '.join(sorted(self._creators))}>"

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
        another backend or a plug-in cannot be loaded, and what the creator raises.
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
                f"the creator registered for the backend {params.backend!r} made a handler of "
                f"{made!r}"
            )
        return handler


def create_c10d_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Host or reach the store that the endpoint names, and make a handler over it.

    The handler owns what was opened: `shutdown` closes it. Configuration: see
    `rendezvous.backends.connection.open_store` and `create_handler`. Raises ValueError for a
    setting that nobody knows.
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

    Configuration: see `rendezvous.backends.etcd.open` and `create_handler`.
    """
    from rendezvous._base.settings import ETCD_SETTINGS, refuse_unknown_settings
    from rendezvous.backends.etcd.open import open_backend
    from rendezvous.handler.create import create_handler

    refuse_unknown_settings(params, ETCD_SETTINGS)
    backend, connection = open_backend(params)
    try:
        # It has all that a handler uses of one.
        owned = cast("StoreConnection", connection)
        return create_handler(connection.store, backend, params, owned)
    except BaseException:
        connection.close()
        raise


def create_static_handler(params: RendezvousParameters) -> RendezvousHandler:
    """Make a handler of a fixed number of nodes whose ranks are given.

    Configuration: see `rendezvous.backends.static.create_handler`.
    """
    from rendezvous._base.settings import STATIC_SETTINGS, refuse_unknown_settings
    from rendezvous.backends.static import create_handler

    refuse_unknown_settings(params, STATIC_SETTINGS)
    return create_handler(params)


def _refuse_etcd_v2(params: RendezvousParameters) -> NoReturn:
    raise ValueError(
        f"the rendezvous backend {params.backend!r} spoke version 2 of etcd's API, which etcd 3.6 "
        "no longer has; use 'etcd', with the same endpoint, which speaks version 3 to etcd 3.4 and "
        "later"
    )


# Names that are known for their answer only.
_REFUSED = {"etcd-v2"}

rendezvous_handler_registry = RendezvousHandlerRegistry(plugins=True)
rendezvous_handler_registry.register("c10d", create_c10d_handler)
rendezvous_handler_registry.register("static", create_static_handler)
for _name in ("etcd", "etcd-v3"):
    rendezvous_handler_registry.register(_name, create_etcd_handler)
for _name in _REFUSED:
    rendezvous_handler_registry.register(_name, _refuse_etcd_v2)


def get_rendezvous_handler(params: RendezvousParameters) -> RendezvousHandler:
    """A handler of the backend that the parameters name; raises as the registry's method."""
    return rendezvous_handler_registry.create_handler(params)
