"""A fast key-value store and rendezvous for distributed training jobs.

Who is here, which rank am I, and where is rank 0?

    import rendezvous

    with rendezvous.join("node0:29400", nodes=(2, 8)) as world:
        print(world.rank, world.size, world.master_addr, world.master_port)

Public names only. They are defined elsewhere, and imported at their first use. So a process that
needs only a small module (torch loads torchrun's plug-in in every worker) does not wait for all.
"""

# What type checkers take for typing's, whose import this one shall not wait for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from rendezvous._base.api import (
        RendezvousHandler,
        RendezvousInfo,
        RendezvousParameters,
        RendezvousStoreInfo,
        parse_rendezvous_endpoint,
    )
    from rendezvous._base.backend import RendezvousBackend
    from rendezvous._base.errors import (
        QueueEmptyError,
        RendezvousClosedError,
        RendezvousConnectionError,
        RendezvousError,
        RendezvousFailedError,
        RendezvousFinishedError,
        RendezvousGracefulExitError,
        RendezvousStateError,
        RendezvousTimeoutError,
        RendezvousUnhealthyError,
        StoreAddressInUseError,
        StoreClosedError,
        StoreConnectionError,
        StoreError,
        StoreKeysMissingError,
        StoreLimitError,
        StoreNoAnswerError,
        StoreProtocolError,
        StoreRefusedError,
        StoreRestartedError,
        StoreTimeoutError,
        StoreUnsupportedError,
        StoreValueError,
    )
    from rendezvous._base.events import Event
    from rendezvous._core import (
        FileStore,
        HashStore,
        Node,
        Server,
        TCPStore,
        __version__,
    )
    from rendezvous._stores.barrier import Barrier
    from rendezvous._stores.prefix import PrefixStore
    from rendezvous._stores.store import Store
    from rendezvous.backends.c10d import C10dRendezvousBackend
    from rendezvous.backends.open_store import open_store
    from rendezvous.backends.static import StaticRendezvousHandler
    from rendezvous.handler import (
        DynamicRendezvousHandler,
        RendezvousRules,
        RendezvousSettings,
        RendezvousTimeout,
    )
    from rendezvous.handler.registry import (
        RendezvousHandlerRegistry,
        get_rendezvous_handler,
        rendezvous_handler_registry,
    )
    from rendezvous.handler.world import World, join

__all__ = [
    "Barrier",
    "C10dRendezvousBackend",
    "DynamicRendezvousHandler",
    "Event",
    "FileStore",
    "HashStore",
    "Node",
    "PrefixStore",
    "QueueEmptyError",
    "RendezvousBackend",
    "RendezvousClosedError",
    "RendezvousConnectionError",
    "RendezvousError",
    "RendezvousFailedError",
    "RendezvousFinishedError",
    "RendezvousGracefulExitError",
    "RendezvousHandler",
    "RendezvousHandlerRegistry",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousRules",
    "RendezvousSettings",
    "RendezvousStateError",
    "RendezvousStoreInfo",
    "RendezvousTimeout",
    "RendezvousTimeoutError",
    "RendezvousUnhealthyError",
    "Server",
    "StaticRendezvousHandler",
    "Store",
    "StoreAddressInUseError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreError",
    "StoreKeysMissingError",
    "StoreLimitError",
    "StoreNoAnswerError",
    "StoreProtocolError",
    "StoreRefusedError",
    "StoreRestartedError",
    "StoreTimeoutError",
    "StoreUnsupportedError",
    "StoreValueError",
    "TCPStore",
    "World",
    "__version__",
    "get_rendezvous_handler",
    "join",
    "open_store",
    "parse_rendezvous_endpoint",
    "rendezvous_handler_registry",
]

# Where a name lives; the errors, in rendezvous._base.errors.
_HOMES = {
    "Barrier": "_stores.barrier",
    "C10dRendezvousBackend": "backends.c10d",
    "DynamicRendezvousHandler": "handler",
    "Event": "_base.events",
    "FileStore": "_core",
    "HashStore": "_core",
    "Node": "_core",
    "PrefixStore": "_stores.prefix",
    "RendezvousBackend": "_base.backend",
    "RendezvousHandler": "_base.api",
    "RendezvousHandlerRegistry": "handler.registry",
    "RendezvousInfo": "_base.api",
    "RendezvousParameters": "_base.api",
    "RendezvousRules": "_base.rules",
    "RendezvousSettings": "_base.settings",
    "RendezvousStoreInfo": "_base.api",
    "RendezvousTimeout": "_base.settings",
    "Server": "_core",
    "StaticRendezvousHandler": "backends.static",
    "Store": "_stores.store",
    "TCPStore": "_core",
    "World": "handler.world",
    "__version__": "_core",
    "get_rendezvous_handler": "handler.registry",
    "join": "handler.world",
    "open_store": "backends.open_store",
    "parse_rendezvous_endpoint": "_base.api",
    "rendezvous_handler_registry": "handler.registry",
}
# Modules that users know as attributes of the package.
_MODULES = ("api", "backends", "errors", "handler", "registry", "static")

if not TYPE_CHECKING:  # for a type checker, it would make every name one of ours

    def _import(home):
        from importlib import import_module

        try:
            return import_module(f"rendezvous.{home}")
        except ModuleNotFoundError as error:
            if error.name != "rendezvous._core":
                raise
            raise ImportError(
                f"rendezvous was found in {__path__[0]}, where its compiled part is missing: "
                "either start Python in another folder after `pip install .`, or run "
                "`pip install -e .` here",
                name="rendezvous._core",
            ) from None

    def __getattr__(name):
        if name in _MODULES or name == "_core":
            return _import(name)
        home = _HOMES.get(name) or ("_base.errors" if name in __all__ else None)
        if home is None:
            raise AttributeError(f"module 'rendezvous' has no attribute {name!r}")
        value = getattr(_import(home), name)
        globals()[name] = value  # asked once
        return value

    def __dir__():
        return sorted({*__all__, *_MODULES})
