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
        refused(datagrams.fileno(), "it is not a stream socket")
        assert datagrams.getsockname()[1] > 0
    with socket.socket(socket.AF_UNIX) as local:
        refused(local.fileno(), "it is not a TCP socket")
    reader, writer = os.pipe()
    os.close(writer)
    refused(reader, "Socket operation on non-socket")
    os.close(reader)
    refused(-1, "Bad file descriptor")


def bound_socket() -> tuple[int, int]:
    """A descriptor nobody else closes, and its port."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    port: int = bound.getsockname()[1]
    return bound.detach(), port


@pytest.mark.parametrize("multi_tenant", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_master_store_takes_a_bound_socket(named: bool, multi_tenant: bool) -> None:
    """As torch's: with the socket's port, or 0."""
    descriptor, port = bound_socket()
    master = TCPStore(
        "127.0.0.1",
        port if named else 0,
        is_master=True,
        multi_tenant=multi_tenant,
        master_listen_fd=descriptor,
    )
    assert master.port == port
    TCPStore("127.0.0.1", port, timeout=60).set("k", "v")
    assert master.get("k") == b"v"
    master.close()


def test_a_descriptor_that_does_not_fit_the_other_arguments_is_refused() -> None:
    """Another port, or no master: the error says so, and the descriptor stays the caller's."""
    descriptor, port = bound_socket()
    with pytest.raises(ValueError, match=f"is bound to port {port}, but port is {port - 1}"):
        TCPStore("127.0.0.1", port - 1, is_master=True, master_listen_fd=descriptor)
    with pytest.raises(ValueError, match="master_listen_fd is only for the master"):
        TCPStore("127.0.0.1", port, master_listen_fd=descriptor)
    os.close(descriptor)
