"""What carries a request to one member of etcd and its answer back, in two ways.

`grpc` is etcd's own API and the default: gRPC over HTTP/2, spoken by grpc.py, http2.py, hpack.py
and protobuf.py. `gateway` is etcd's JSON over HTTP/1.1, for where only that gets through:
gateway.py, http1.py and json_mapping.py. Both have their messages from schema.py and their sockets
from line.py. Everything above knows interface.py alone.
"""

from collections.abc import Callable

from rendezvous.backends.etcd._transport.gateway import GatewayTransport
from rendezvous.backends.etcd._transport.grpc import GrpcTransport
from rendezvous.backends.etcd._transport.interface import Message, Stream, TlsFiles, Transport

__all__ = [
    "DEFAULT_TRANSPORT",
    "Message",
    "Stream",
    "TlsFiles",
    "Transport",
    "open_transport",
]

DEFAULT_TRANSPORT = "grpc"
# By the names that configurations have for them.
_TRANSPORTS: dict[str, Callable[[TlsFiles | None], Transport]] = {
    "grpc": GrpcTransport,
    "gateway": GatewayTransport,
}


def open_transport(name: str, tls: TlsFiles | None) -> Transport:
    """The transport of that name; nothing is sent. Raises ValueError, also for unusable files."""
    kind = _TRANSPORTS.get(name)
    if kind is None:
        raise ValueError(
            f"transport is {name!r}; use 'grpc', or 'gateway' where only HTTP/1.1 gets through"
        )
    return kind(tls)
