"""The backend over etcd's v3 API, with a client, a store and a private server of its own.

Each name lives in the module that it is imported from.
"""

from rendezvous.backends.etcd.backend import EtcdRendezvousBackend
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.open import create_backend
from rendezvous.backends.etcd.server.server import EtcdServer
from rendezvous.backends.etcd.store.store import EtcdStore
from rendezvous.backends.etcd.transport import TlsFiles

__all__ = [
    "EtcdClient",
    "EtcdRendezvousBackend",
    "EtcdServer",
    "EtcdStore",
    "TlsFiles",
    "create_backend",
]
