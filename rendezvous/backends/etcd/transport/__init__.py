"""What carries a request to one member of etcd and its answer back, in two ways.

`grpc` is etcd's own API: gRPC over HTTP/2, by the library h2, http2.py, grpc.py and protobuf.py.
`gateway` is etcd's JSON over HTTP/1.1, which needs the standard library alone: gateway.py, http1.py
and json_mapping.py. Both have their messages from schema.py and their sockets from line.py.
Everything above knows interface.py alone.
"""

import importlib.util

from rendezvous.backends.etcd.transport.gateway import GatewayTransport
from rendezvous.backends.etcd.transport.interface import Message, Stream, TlsFiles, Transport

__all__ = [
    "Message",
    "Stream",
    "TlsFiles",
    "Transport",
    "open_transport",
]

_NEEDS_H2 = (
    "transport 'grpc' needs the library h2: pip install 'rendezvous-store[etcd]', or use "
    "transport=gateway"
)


def open_transport(name: str | None, tls: TlsFiles | None) -> Transport:
    """The transport of that name; nothing is sent.

    None: `grpc` where h2 is installed, else `gateway`. Raises ValueError, also for unusable files.
    """
    has_h2 = importlib.util.find_spec("h2") is not None
    name = name or ("grpc" if has_h2 else "gateway")
    if name == "gateway":
        return GatewayTransport(tls)
    if name != "grpc":
        raise ValueError(
            f"transport is {name!r}; use 'grpc', or 'gateway', which needs no library and works "
            "where only HTTP/1.1 does"
        )
    if not has_h2:
        raise ValueError(_NEEDS_H2)
    from rendezvous.backends.etcd.transport.grpc import GrpcTransport

    return GrpcTransport(tls)
