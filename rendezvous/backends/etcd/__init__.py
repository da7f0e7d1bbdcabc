"""The backend over etcd's v3 API, with a client, a store and a private server of its own.

Needs nothing but the standard library. Each name lives in the module that it is imported from.
"""

from rendezvous.backends.etcd.client import EtcdClient
from rendezvous.backends.etcd.server import EtcdServer

__all__ = ["EtcdClient", "EtcdServer"]
