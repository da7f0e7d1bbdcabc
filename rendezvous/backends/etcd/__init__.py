"""The backend over etcd's v3 API, with a client, a store and a private server of its own.

Each name lives in the module that it is imported from.
"""

from rendezvous.backends.etcd._open import create_backend
from rendezvous.backends.etcd._transport import TlsFiles
from rendezvous.backends.etcd.backend import EtcdRendezvousBackend
from rendezvous.backends.etcd.client import EtcdClient
from rendezvous.backends.etcd.server import EtcdServer
from rendezvous.backends.etcd.store import EtcdStore

__all__ = [
    "EtcdClient",
    "EtcdRendezvousBackend",
    "EtcdServer",
    "EtcdStore",
    "TlsFiles",
    "create_backend",
]
