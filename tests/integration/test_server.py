"""The server: what it binds, and that no peer, however odd, keeps it from serving others."""

from __future__ import annotations

import logging
import os
import resource
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support import wire
from support.background import Background, eventually
from support.wire import RawPeer

from rendezvous import Server, StoreAddressInUseError, StoreConnectionError, TCPStore

Connect = Callable[..., TCPStore]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


def can_connect(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_port_0_picks_a_free_port() -> None:
    """Two servers get different ports, and say which."""
    with Server() as one, Server("127.0.0.1", 0) as two:
        assert one.port != two.port
        assert one.host == "127.0.0.1"
        assert repr(one) == f"<rendezvous.Server 127.0.0.1:{one.port}>"
        assert can_connect("127.0.0.1", one.port)


def test_close_from_several_threads() -> None:
    """Whichever comes first: when a call returns, the server is closed."""
    for _ in range(20):
        server = Server()
        with ExitStack() as clients:
            for _ in range(50):  # so that closing takes a while
                clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            together = threading.Barrier(4)

            def close(
                server: Server = server, together: threading.Barrier = together
            ) -> list[bool]:
                together.wait()
                server.close()
                return [can_connect("127.0.0.1", server.port)]

            for closing in [Background(close) for _ in range(4)]:
                assert closing.result() == [False]


def test_only_the_named_address_is_bound(connect: Connect) -> None:
    """A server on one loopback address is not reachable at another."""
    with Server("127.0.0.2") as server:
        assert not can_connect("127.0.0.1", server.port)
        connect(server.port, "127.0.0.2").ping()


def test_every_ipv4_interface(connect: Connect) -> None:
    """0.0.0.0 means every IPv4 address."""
    with Server("0.0.0.0") as server:
        for host in ("127.0.0.1", "127.0.0.3", "localhost"):
            connect(server.port, host).ping()


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_address(connect: Connect, host: str) -> None:
    """An IPv6 address works with and without brackets, and binds IPv6 only."""
    with Server(host) as server:
        assert not can_connect("127.0.0.1", server.port)
        store = connect(server.port, "::1")
        store.set("k", "v")
        assert connect(server.port, "[::1]").get("k") == b"v"
        assert store.observed_address == "::1"
        assert f"[::1]:{server.port}" in repr(store)


@needs_ipv6
def test_every_interface_of_both_kinds(connect: Connect) -> None:
    """:: takes IPv4 clients too, and shows their IPv4 address as such."""
    with Server("::") as server:
        assert connect(server.port, "::1").observed_address == "::1"
        assert connect(server.port, "127.0.0.1").observed_address == "127.0.0.1"


def test_host_name(connect: Connect) -> None:
    """A name binds its addresses on one port."""
    with Server("localhost") as server:
        connect(server.port, "localhost").ping()
        connect(server.port, "127.0.0.1").ping()


def test_address_of_another_machine() -> None:
    """The error says that the address is not this machine's."""
    with pytest.raises(StoreConnectionError, match="does not belong to this machine"):
        Server("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["", "a\0b", "x" * 300])
def test_what_is_no_host(host: str) -> None:
    """Nonsense is refused without asking a name server."""
    with pytest.raises(ValueError, match="neither a host name nor an IP address"):
        Server(host)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port(port: int) -> None:
    """Ports outside 16 bits are refused."""
    with pytest.raises(ValueError, match=f"port {port} is not between 0 and 65535"):
        Server("127.0.0.1", port)


def test_port_in_use_names_its_holder(server: Server) -> None:
    """The error names the port and the process that has it."""
    with pytest.raises(StoreAddressInUseError, match=f"pid {os.getpid()}") as caught:
        Server("127.0.0.1", server.port)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert can_connect("127.0.0.1", server.port)


def test_close_frees_the_port(server: Server) -> None:
    """A closed server is gone at once, with its connections; its port can be served again."""
    with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
        peer.synchronise()
        server.close()
        server.close()
        assert peer.wait_closed() == b""
        assert not can_connect("127.0.0.1", server.port)
        with Server("127.0.0.1", server.port):
            assert can_connect("127.0.0.1", server.port)


REFUSED = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "noise": bytes(range(255, 0, -1)) * 1000,
    "nearly native": b"RDZX\x01\x00\x01\x00",
    "VALIDATE with another number": b"\x00\xff\xff\xff\xff",
    "not a valid VALIDATE": wire.C10D_VALIDATE[:1] + b"\x01\x02\x03\x04",
    "unknown operation": wire.C10D_VALIDATE + b"\xee",
    "native without HELLO": b"RDZV\x01\x00\x01\x00" + wire.native_frame(2, b""),
    "native frame beyond the limit": wire.native_hello() + b"\xff\xff\xff\xff" + b"\0" * 12,
}
HALVES = {
    "nothing": b"",
    "half a VALIDATE": wire.C10D_VALIDATE[:3],
    "half a key": wire.C10D_VALIDATE + wire.c10d(wire.SET, b"key", b"value")[:10],
    "half a value": wire.C10D_VALIDATE + wire.c10d(wire.SET, b"key", b"value" * 50_000)[:-9],
    "half a list": wire.C10D_VALIDATE + wire.c10d_list(wire.CHECK, b"a", b"b")[:-3],
    "half a preamble": wire.native_hello()[:6],
    "half a HELLO": wire.native_hello()[:30],
    "half a native set": wire.native_hello() + wire.native_frame(wire.NATIVE_SET, b"\0" * 99)[:40],
}


@pytest.mark.parametrize("first", REFUSED)
def test_a_peer_that_speaks_nonsense_is_disconnected(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    """What is no store client is hung up on, and logged; others do not notice."""
    caplog.set_level(logging.WARNING, "rendezvous.server")
    store = connect()
    with RawPeer(server.port, REFUSED[first]) as peer:
        address = peer.address
        peer.wait_closed()
    eventually("the log line", lambda: address in caplog.text)
    caplog.text.encode()  # writable, whatever the bytes were
    store.set("k", "v")
    assert connect().get("k") == b"v"


@pytest.mark.parametrize("first", HALVES)
def test_half_a_message_disturbs_nobody(server: Server, connect: Connect, first: str) -> None:
    """Peers that stop in the middle, then leave with FIN or RST, change nothing for others."""
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(server.port, HALVES[first])) for _ in range(4)]
        store = connect()
        store.set("k", "v")
        peers[0].close()
        peers[1].reset()
        peers[2].socket.shutdown(socket.SHUT_WR)
        assert len(peers[2].wait_closed()) < 200
        assert connect().get("k") == b"v"
        assert store.num_keys() == 1


def test_native_client_of_another_version_is_told(server: Server) -> None:
    """A client without a common version gets an answer before the connection ends."""
    with RawPeer(server.port, wire.native_hello(version=99)) as peer:
        operation, status, _, body = peer.receive_frame()
        assert (operation, status) == (1, 7)
        assert b"version 2 of the protocol" in body
        peer.wait_closed()


@pytest.mark.parametrize("whole", [True, False])
def test_multi_set_cut_short_sets_nothing(server: Server, connect: Connect, whole: bool) -> None:
    """Only a whole MULTI_SET is applied, in both protocols."""
    pairs = [b"/a", b"1", b"/b", b"2" * 100_000]
    old = wire.c10d_list(wire.MULTI_SET, *pairs, items=2)
    new = wire.native_frame(
        wire.NATIVE_MULTI_SET, b"\x02\0\0\0" + b"".join(map(wire.native_string, pairs))
    )
    cut = None if whole else -1
    for message in (wire.C10D_VALIDATE + old[:cut], wire.native_hello() + new[:cut]):
        with RawPeer(server.port, message) as peer:
            peer.socket.shutdown(socket.SHUT_WR)
            peer.wait_closed()
        store = connect()
        assert store.list_keys() == (["a", "b"] if whole else [])
        for key in store.list_keys():
            store.delete_key(key)


def test_more_than_a_thousand_connections(server: Server, connect: Connect) -> None:
    """1,200 clients are connected and served at once."""
    count = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the limit of open files is {hard}; this needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with ExitStack() as stack:
        peers = [
            stack.enter_context(RawPeer(server.port, wire.C10D_VALIDATE + wire.c10d_ping(i)))
            for i in range(count)
        ]
        for i, peer in enumerate(peers):
            assert int.from_bytes(peer.receive(4), "little") == i
            peer.send(wire.c10d_list(wire.WAIT, b"/go"))
        for peer in peers:
            peer.synchronise()
        connect().set("go", "")
        for peer in peers:
            assert peer.receive(1) == b"\0"
