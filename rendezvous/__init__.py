"""A fast key-value store and rendezvous for distributed training jobs.

Who is here, which rank am I, and where is rank 0?

    from rendezvous import RendezvousParameters, get_rendezvous_handler

    handler = get_rendezvous_handler(RendezvousParameters("c10d", "node0:29400", "job-17", 2, 8))
    info = handler.next_rendezvous()

Public names only: they are exported here and live elsewhere.
"""

# errors first: the core looks its classes up there.
from rendezvous.errors import (
    QueueEmptyError,
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousFinishedError,
    RendezvousGracefulExitError,
    RendezvousStateError,
    RendezvousTimeoutError,
    StoreAddressInUseError,
    StoreClosedError,
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreLimitError,
    StoreNoAnswerError,
    StoreProtocolError,
    StoreRestartedError,
    StoreTimeoutError,
    StoreUnsupportedError,
    StoreValueError,
)

# isort: split
from rendezvous._barrier import Barrier
from rendezvous._core import (
    FileStore,
    HashStore,
    Node,
    Server,
    TCPStore,
    __version__,
)
from rendezvous._open import open_store
from rendezvous._prefix_store import PrefixStore
from rendezvous._store import Store
from rendezvous.api import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
)
from rendezvous.backends.base import RendezvousBackend
from rendezvous.backends.c10d import C10dRendezvousBackend
from rendezvous.handler import DynamicRendezvousHandler, RendezvousTimeout
from rendezvous.registry import (
    RendezvousHandlerRegistry,
    get_rendezvous_handler,
    rendezvous_handler_registry,
)

__all__ = [
    "Barrier",
    "C10dRendezvousBackend",
    "DynamicRendezvousHandler",
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
    "RendezvousStateError",
    "RendezvousStoreInfo",
    "RendezvousTimeout",
    "RendezvousTimeoutError",
    "Server",
    "Store",
    "StoreAddressInUseError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreError",
    "StoreKeysMissingError",
    "StoreLimitError",
    "StoreNoAnswerError",
    "StoreProtocolError",
    "StoreRestartedError",
    "StoreTimeoutError",
    "StoreUnsupportedError",
    "StoreValueError",
    "TCPStore",
    "__version__",
    "get_rendezvous_handler",
    "open_store",
    "rendezvous_handler_registry",
]
