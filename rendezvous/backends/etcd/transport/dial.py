"""Connects to one member within a deadline, by name or address, with TLS or without.

A name is looked up on a thread of its own, as the system's resolver knows no time limit.
"""

import ipaddress
import socket
import ssl
import threading

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreConnectionError
from rendezvous._base.threads import start_thread
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import TransportError

__all__ = ["dial", "tls_reason"]

_Address = tuple[int, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def dial(endpoint: Endpoint, context: ssl.SSLContext | None, deadline: Deadline) -> socket.socket:
    """A connected socket; with a context, after the handshake. Raises TransportError."""
    addresses = _look_up(endpoint, deadline)
    reason = "its name has no address"
    for position, (family, address) in enumerate(addresses):
        # The last address has all the time that is left: a first one that drops packets must not
        # take it.
        attempt = deadline.sooner(deadline.left_s / (len(addresses) - position))
        try:
            sock = _connect(family, address, attempt)
        except OSError as error:
            reason = _reason(error, "connecting")
            continue
        if context is None:
            return sock
        try:
            return _secure(sock, context, endpoint.host, deadline)
        except (OSError, ValueError) as error:
            sock.close()
            reason = tls_reason(error)
    raise TransportError(reason, sent=False)


def _look_up(endpoint: Endpoint, deadline: Deadline) -> list[_Address]:
    try:
        family = (
            socket.AF_INET6 if ipaddress.ip_address(endpoint.host).version == 6 else socket.AF_INET
        )
    except ValueError:
        pass
    else:
        return [(family, (endpoint.host, endpoint.port))]
    found: list[_Address] = []
    failed: list[OSError] = []

    def resolve() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM
            ):
                found.append((family, address))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=resolve, daemon=True, name="rendezvous-etcd-resolve")
    try:
        start_thread(thread)
    except StoreConnectionError as error:
        raise TransportError(str(error), sent=False) from error
    thread.join(deadline.left_s)
    if thread.is_alive():
        raise TransportError(f"looking up {endpoint.host!r} takes too long", sent=False)
    if failed:
        raise TransportError(f"cannot look up {endpoint.host!r}: {failed[0]}", sent=False)
    return found


def _connect(family: int, address: object, deadline: Deadline) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.socket_s)
        sock.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        _refuse_itself(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse_itself(sock: socket.socket) -> None:
    """The kernel may choose, for our end, the very port that nobody listens on."""
    if sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError("connection refused")


def _secure(
    sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline
) -> ssl.SSLSocket:
    sock.settimeout(deadline.socket_s)
    return context.wrap_socket(sock, server_hostname=host)


def _reason(error: OSError, doing: str) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer to {doing}"
    return (error.strerror or str(error)).lower()


def tls_reason(error: OSError | ValueError) -> str:
    """Why there is no TLS with a member, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate was rejected ({error.verify_message}); set ca_cert to the CA that "
            "signs the members' certificates, and check that they contain the endpoint's host"
        )
    if isinstance(error, ssl.SSLError) and "NO_APPLICATION_PROTOCOL" in (error.reason or ""):
        return (
            "it does not speak HTTP/2 over TLS, and so not gRPC; use transport=gateway if that "
            "is etcd's "
            "JSON gateway"
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return (
            f"it closed the TLS connection ({error.reason}); set ssl_cert and ssl_cert_key to a "
            "client certificate that it accepts"
        )
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error}); does the member speak https there?"
    if isinstance(error, OSError):
        return f"TLS failed ({_reason(error, 'the handshake')})"
    return f"TLS failed ({error})"
