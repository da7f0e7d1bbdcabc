"""TCPStore: getting a connection, hosting a server, counting workers, closing, large values."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import peers
from support.background import Background
from support.peers import FakePeer

from rendezvous import (
    PrefixStore,
    Server,
    Store,
    StoreAddressInUseError,
    StoreClosedError,
    StoreConnectionError,
    StoreProtocolError,
    StoreTimeoutError,
    StoreValueError,
    TCPStore,
)

Connect = Callable[..., TCPStore]
MIB = 1024 * 1024


def test_client_may_start_before_its_server(connect: Connect, free_port: int) -> None:
    """A client tries until there is a server, as long as its timeout lets it."""
    connecting = Background(connect, free_port).let_block()
    with Server("127.0.0.1", free_port):
        store = connecting.result()
        store.set("k", "v")
        assert store.get("k") == b"v"


def test_no_server_is_an_error_after_the_timeout(free_port: int) -> None:
    """The error says where, for how long, how often, and what the last attempt met."""
    begin = time.monotonic()
    with pytest.raises(StoreConnectionError, match=f"127.0.0.1:{free_port} within 0.2 s") as caught:
        TCPStore("127.0.0.1", free_port, timeout=0.2)
    assert time.monotonic() - begin >= 0.2
    assert "nothing listens there" in str(caught.value)
    assert "attempts" in str(caught.value)


def test_timeout_of_zero_connects_now_or_never(server: Server, free_port: int) -> None:
    """Without a server there are the attempts of a moment."""
    with pytest.raises(StoreConnectionError, match=r"[1-9] attempts"):
        TCPStore("127.0.0.1", free_port, timeout=0)


@pytest.mark.parametrize(
    ("behave", "seen"),
    [
        (peers.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "answered 'HTTP/1.1 400"),
        (peers.says(b"SSH-2.0-OpenSSH_9.6p1\r\n"), "answered 'SSH-2.0"),
        (peers.says(b"220 hi\r\n", hang_up=True), "answered '220 hi.* and hung up"),
        (peers.echoes, "answered 'RDZV"),
        (peers.hangs_up, "closes them without an answer"),
    ],
)
def test_peer_that_is_no_store(behave: Callable[[Any], None], seen: str) -> None:
    """What answers something else is named as such, long before the timeout."""
    with FakePeer(behave) as peer:
        with pytest.raises(StoreProtocolError, match="is not a rendezvous store") as caught:
            TCPStore("127.0.0.1", peer.port, timeout=600)
        assert f"127.0.0.1:{peer.port}" in str(caught.value)
        caught.match(seen)


def test_peer_that_says_nothing() -> None:
    """A peer that accepts and is silent is a timeout, kept."""
    with FakePeer(peers.silent) as peer:
        begin = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=r"did not answer within 0\.2 s"):
            TCPStore("127.0.0.1", peer.port, timeout=0.2)
        assert time.monotonic() - begin >= 0.2


def test_peer_that_is_a_web_server() -> None:
    """A real HTTP server, which may wait for the end of a line that never comes, is no store."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        web.daemon_threads = True
        web.block_on_close = False
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(
                (StoreProtocolError, StoreTimeoutError), match="not a rendezvous store"
            ):
                TCPStore("127.0.0.1", web.server_port, timeout=0.3)
        finally:
            web.shutdown()
            thread.join()


@pytest.mark.parametrize("host", ["", "a\0b"])
def test_host_that_is_none(host: str) -> None:
    """Nonsense is refused at once."""
    with pytest.raises(StoreValueError, match="neither a host name nor an IP address"):
        TCPStore(host, 29400, timeout=600)


def test_client_needs_a_port() -> None:
    """Only the master may leave the choice of the port open."""
    with pytest.raises(StoreValueError, match="port 0 is only for the master"):
        TCPStore("127.0.0.1", 0)
    with pytest.raises(ValueError, match="port 70000 is not between"):
        TCPStore("127.0.0.1", 70000)


def test_properties(server: Server, connect: Connect) -> None:
    """A store says where its server is and how the server sees it."""
    store = connect()
    assert (store.host, store.port) == ("127.0.0.1", server.port)
    assert store.observed_address == "127.0.0.1"
    assert repr(store) == f"<rendezvous.TCPStore 127.0.0.1:{server.port}>"
    assert f"over TCPStore 127.0.0.1:{server.port}" in repr(PrefixStore("p", store))


def test_master_hosts_the_server(connect: Connect) -> None:
    """A master on port 0 picks a port, which others use; closing it ends the server."""
    master = connect(0, is_master=True)
    client = connect(master.port, timeout=0.5)
    master.set("k", "v")
    assert client.get("k") == b"v"
    master.close()
    with pytest.raises(StoreClosedError, match="was closed"):
        master.get("k")
    with pytest.raises(StoreConnectionError, match=f"127.0.0.1:{master.port}"):
        client.get("k")
    with Server("127.0.0.1", master.port):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost"])
def test_master_on_a_general_address_reaches_itself(connect: Connect, host: str) -> None:
    """The address that is bound need not be one that can be connected to."""
    master = connect(0, host, is_master=True)
    master.set("k", "v")
    assert connect(master.port).get("k") == b"v"


def test_second_master_of_a_port_is_refused(connect: Connect) -> None:
    """Without multi_tenant a port has one master."""
    master = connect(0, is_master=True)
    with pytest.raises(StoreAddressInUseError, match=f":{master.port}"):
        TCPStore("127.0.0.1", master.port, is_master=True)


def test_masters_of_one_process_share_a_port(connect: Connect) -> None:
    """With multi_tenant the first hosts, and the server lives until the last one goes."""
    first = connect(0, is_master=True, multi_tenant=True)
    second = connect(first.port, is_master=True, multi_tenant=True)
    first.set("k", "v")
    assert second.get("k") == b"v"
    first.close()
    assert second.get("k") == b"v"
    assert connect(first.port).get("k") == b"v"
    second.close()
    third = connect(first.port, is_master=True, multi_tenant=True)
    assert third.num_keys() == 0


def test_master_waits_for_its_workers(connect: Connect, free_port: int) -> None:
    """Each store of a known world size counts itself in; only the master waits for the others."""
    first = Background(connect, free_port, world_size=3)
    master = Background(connect, free_port, world_size=3, is_master=True)
    assert first.result().num_keys() == 1
    master.let_block()
    assert master.running
    connect(free_port, world_size=3)
    assert master.result().list_keys() == []


@pytest.mark.parametrize("is_master", [True, False])
def test_no_workers_are_a_mistake(server: Server, is_master: bool) -> None:
    """None, or a negative number, is what says that their number is not known."""
    port = 0 if is_master else server.port
    with pytest.raises(ValueError, match="world_size is 0"):
        TCPStore("127.0.0.1", port, 0, is_master)
    for unknown in (None, -1):
        TCPStore("127.0.0.1", port, unknown, is_master).close()


def test_master_says_how_many_workers_came(free_port: int) -> None:
    """The timeout counts the master too; afterwards the port is free again."""
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError, match=r"1 of 3 workers connected within 0\.2 s"):
        TCPStore("127.0.0.1", free_port, 3, is_master=True, timeout=0.2)
    assert time.monotonic() - begin >= 0.2
    with Server("127.0.0.1", free_port):
        pass


@pytest.mark.parametrize(
    "options", [{"world_size": 2, "wait_for_workers": False}, {"world_size": None}]
)
def test_workers_are_counted_only_if_waited_for(connect: Connect, options: dict[str, Any]) -> None:
    """Without a wait or a world size nobody counts, and nobody waits."""
    master = connect(0, is_master=True, **options)
    connect(master.port, **options)
    assert master.num_keys() == 0


def test_users_keys_do_not_clash_with_the_count(connect: Connect) -> None:
    """A user's key 'init/' is another one than the workers' count."""
    master = connect(0, is_master=True, world_size=1)
    assert master.num_keys() == 1
    master.set("init/", "mine")
    assert master.list_keys() == ["init/"]
    assert master.num_keys() == 2
    connect(master.port, world_size=1)
    assert master.get("init/") == b"mine"


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("k"),
    "set": lambda store: store.set("k", "v"),
    "add": lambda store: store.add("n", 1),
    "check": lambda store: store.check(["k"]),
    "wait": lambda store: store.wait(["k"]),
    "multi_get": lambda store: store.multi_get(["k"]),
    "num_keys": lambda store: store.num_keys(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_closed_store_is_closed(connect: Connect, operation: str) -> None:
    """Every operation says that the store was closed; closing again does nothing."""
    store = connect()
    store.close()
    store.close()
    with pytest.raises(StoreClosedError, match="was closed"):
        OPERATIONS[operation](store)


@pytest.mark.parametrize("is_master", [True, False])
def test_close_ends_blocked_calls(connect: Connect, is_master: bool) -> None:
    """Threads that wait in a store which another thread closes learn that it was closed."""
    store = connect(0, is_master=True) if is_master else connect()
    calls: list[Callable[[], object]] = [lambda: store.get("never"), lambda: store.wait(["never"])]
    blocked = [Background(call) for call in calls]
    blocked[-1].let_block()
    store.close()
    for call in blocked:
        with pytest.raises(StoreClosedError, match="was closed"):
            call.result()


def test_close_ends_a_call_that_waits_for_a_connection(connect: Connect) -> None:
    """A thread that tries to reconnect stops when the store is closed."""
    master = connect(0, is_master=True)
    client = connect(master.port)
    blocked = Background(client.get, "never").let_block()
    master.close()
    blocked.let_block()
    client.close()
    with pytest.raises(StoreClosedError, match="was closed"):
        blocked.result()


@pytest.mark.parametrize("size", [8 * MIB, 64 * MIB])
def test_large_values(connect: Connect, size: int) -> None:
    """Values up to the limit go there and back, also to a client that was already waiting."""
    value = bytes(range(256)) * (size // 256)
    getting = Background(connect().get, "k").let_block()
    store = connect()
    store.set("k", value)
    assert getting.result() == value
    assert store.get("k") == value
    assert store.compare_exchange("k", value, "small") == (b"small", True)


def test_many_values_at_once(connect: Connect) -> None:
    """16,000 pairs of 1 KiB are set and read in one call each."""
    keys = [f"key-{i:05}" for i in range(16_000)]
    values = [f"{i:05}".encode().ljust(1024, b".") for i in range(16_000)]
    connect().multi_set(keys, values)
    store = connect()
    assert store.multi_get(keys) == values
    assert store.list_keys() == keys
    assert store.check(keys)
    store.wait(keys, 0)


def test_answer_over_the_limit_is_an_error(connect: Connect) -> None:
    """A multi_get whose answer would be too large says so; the connection stays."""
    store = connect()
    store.set("k", b"v" * (64 * MIB))
    with pytest.raises(ValueError, match="ask for fewer keys"):
        store.multi_get(["k"] * 5)
    store.ping()
