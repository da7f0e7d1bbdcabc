"""A server on a socket that somebody else has bound."""

from __future__ import annotations

import os
import re
import socket

import pytest

from rendezvous import Server, TCPStore


@pytest.mark.parametrize("is_listening", [False, True])
def test_server_takes_a_bound_socket(is_listening: bool) -> None:
    """The port is that of the socket, which nobody could take in between."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    if is_listening:
        bound.listen()
    with Server(listen_fd=bound.detach()) as server:
        assert server.port == port
        store = TCPStore("127.0.0.1", port, timeout=60)
        store.set("k", "v")
        assert store.get("k") == b"v"
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))  # the server has let go of it


def refused(descriptor: int, why: str) -> None:
    with pytest.raises(ValueError, match=f"descriptor {descriptor}.*{re.escape(why)}"):
        Server(listen_fd=descriptor)


def test_what_is_no_bound_tcp_socket_is_refused() -> None:
    """The error says what the descriptor is not; it stays open for who has it."""
    with socket.socket() as unbound, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        refused(unbound.fileno(), "it is not bound to a port")
        datagrams.bind(("127.0.0.1", 0))
        refused(datagrams.fileno(), "it is no stream socket")
        assert datagrams.getsockname()[1] > 0
    with socket.socket(socket.AF_UNIX) as local:
        refused(local.fileno(), "it is no TCP socket")
    reader, writer = os.pipe()
    os.close(writer)
    refused(reader, "Socket operation on non-socket")
    os.close(reader)
    refused(-1, "Bad file descriptor")
