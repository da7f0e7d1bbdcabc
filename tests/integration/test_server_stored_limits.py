"""A server's limits on what is stored, set low: what is beyond them, and that it loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from support import wire
from support.background import eventually
from support.logs import logged
from support.wire import RawPeer, c10d

from rendezvous import Server, StoreLimitError, TCPStore

Connect = Callable[..., TCPStore]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rendezvous")


def test_stored_bytes(connect: Connect) -> None:
    """Nothing that would make the store larger is taken; deleting makes room."""
    with Server(limits={"stored_bytes": 100_000}) as server:
        store = connect(server.port)
        for i in range(9):
            store.set(f"k{i}", "v" * 10_000)
        version = store.get_with_version("k1")[1] if hasattr(store, "get_with_version") else 0
        for refused in (
            lambda: store.set("k", "v" * 10_000),
            lambda: store.append("k0", "v" * 10_000),
            lambda: store.compare_set("k", "", "v" * 10_000),
            lambda: store.multi_set(["k"], ["v" * 10_000]),
            lambda: store.queue_push("q", "v" * 10_000),
            lambda: store.set("k", "v" * 10_000, ttl=1000),
            lambda: store.set_if_version("k1", "v" * 20_000, version),
            lambda: store.exchange("x", 0, 1, "v" * 10_000),
        ):
            with pytest.raises(StoreLimitError, match="stored_bytes is 100000"):
                refused()
        assert store.get("k0") == b"v" * 10_000
        store.delete_prefix("k")
        store.set("k", "v" * 10_000)


def how_many(store: Callable[[int], object]) -> int:
    """How often `store` can be called until the server takes no more."""
    for i in range(100_000):
        try:
            store(i)
        except StoreLimitError:
            return i
    pytest.fail("the server takes whatever comes")


def test_stored_bytes_of_small_things(connect: Connect) -> None:
    """Keys and queues cost more than their bytes, and are given back whole."""
    with Server(limits={"stored_bytes": 100_000}) as server:
        store = connect(server.port)
        for _ in range(3):
            queues = how_many(lambda i: store.queue_push(f"q{i}", ""))
            with pytest.raises(StoreLimitError):
                store.add("number", 1)
            with pytest.raises(StoreLimitError):
                store.barrier("b", 2)
            for i in range(queues):
                store.queue_pop(f"q{i}")
            keys = how_many(lambda i: store.set(f"k{i}", ""))
            assert store.delete_prefix("k") == keys


def test_stored_bytes_of_c10d(caplog: pytest.LogCaptureFixture) -> None:
    """A c10d client that would store too much is disconnected with a log line."""
    with Server(limits={"stored_bytes": 10_000}) as server:
        for code, items in ((wire.SET, 2), (wire.APPEND, 2), (14, 2)):
            with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
                peer.send(c10d(code, b"/k", b"v" * 20_000)[: None if items else 0])
                assert peer.wait_closed() == b""
                eventually("the log line", lambda: logged(caplog, peer.address, "stored_bytes"))


def test_keys_per_multi_set(connect: Connect) -> None:
    """So many keys are set at once, and no more."""
    with Server(limits={"keys_per_multi_set": 3}) as server:
        store = connect(server.port)
        store.multi_set(["a", "b", "c"], [b"1", b"2", b"3"])
        with pytest.raises(StoreLimitError, match="keys_per_multi_set"):
            store.multi_set(["d", "e", "f", "g"], [b"1", b"2", b"3", b"4"])
        assert not store.check(["d"])
        assert store.get("c") == b"3"


def test_keys_per_multi_set_of_torchs_protocol(caplog: pytest.LogCaptureFixture) -> None:
    """There the connection is closed, with a line in the log."""
    with Server(limits={"keys_per_multi_set": 1}) as server:
        with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
            peer.send(wire.c10d_list(wire.MULTI_SET, b"a", b"1", b"b", b"2", items=2))
            peer.wait_closed()
        eventually("the log line", lambda: logged(caplog, "keys_per_multi_set"))


def test_ttl_ms(connect: Connect) -> None:
    """A time to live beyond the limit is refused."""
    with Server(limits={"ttl_ms": 10_000}) as server:
        store = connect(server.port)
        store.set("k", "v", ttl=10)
        with pytest.raises(StoreLimitError, match="ttl_ms"):
            store.set("k", "w", ttl=10.5)
        assert store.get("k") == b"v"


@pytest.mark.parametrize("limit", ["keys", "keys_per_space"])
def test_keys(connect: Connect, limit: str) -> None:
    """So many keys are there, and deleting makes room."""
    limits = {"keys": {"keys": 3}, "keys_per_space": {"keys_per_space": 3}}[limit]
    with Server(limits=limits) as server:
        store = connect(server.port)
        for key in ("a", "b", "c"):
            store.set(key, "v")
        with pytest.raises(StoreLimitError, match=f"limit {limit} is 3"):
            store.set("d", "v")
        store.delete_key("a")
        store.set("d", "v")
        assert store.get("d") == b"v"


@pytest.mark.parametrize("limit", ["keys", "keys_per_space"])
def test_keys_that_are_set_at_once_are_no_more_than_there_is_room_for(
    connect: Connect, limit: str
) -> None:
    """All of them are refused, or none; those that are there already add nothing."""
    with Server(limits={limit: 4}) as server:
        store = connect(server.port)
        store.multi_set(["a", "b", "c"], ["1"] * 3)
        with pytest.raises(StoreLimitError, match=f"5 keys at once; the server's limit {limit}"):
            store.multi_set(["a", "b", "c", "d", "e"], ["2"] * 5)
        assert store.get("a") == b"1"
        assert store.num_keys() == 3
        store.multi_set(["a", "b", "c", "d"], ["2"] * 4)
        assert store.get("d") == b"2"


def test_stored_bytes_per_space(connect: Connect) -> None:
    """Likewise what one name space stores."""
    with Server(limits={"stored_bytes_per_space": 10_000}) as server:
        store = connect(server.port)
        with pytest.raises(StoreLimitError, match="stored_bytes_per_space is 10000"):
            store.set("k", "v" * 10_000)
        store.set("k", "v" * 1000)


def test_value_bytes(connect: Connect) -> None:
    """Whatever stores a value of more bytes is refused."""
    with Server(limits={"value_bytes": 100}) as server:
        store = connect(server.port)
        store.set("k", "v" * 100)
        version = store.get_with_version("k")[1] if hasattr(store, "get_with_version") else 0
        large = "v" * 101
        for refused in (
            lambda: store.set("k", large),
            lambda: store.append("k", "v"),
            lambda: store.compare_set("k", "", large),
            lambda: store.multi_set(["a", "b"], ["v", large]),
            lambda: store.queue_push("q", large),
            lambda: store.set("k", large, ttl=1000),
            lambda: store.set_if_version("k", large, version),
            lambda: store.exchange("x", 0, 1, large),
        ):
            with pytest.raises(StoreLimitError, match="100"):
                refused()
        assert store.get("k") == b"v" * 100
        assert not store.check(["a"])


def test_value_bytes_of_c10d(caplog: pytest.LogCaptureFixture) -> None:
    """There the connection is closed, with a line in the log."""
    with Server(limits={"value_bytes": 100}) as server:
        for code in (wire.SET, wire.APPEND, 14):
            with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
                peer.send(c10d(code, b"/k", b"v" * 101))
                assert peer.wait_closed() == b""
                eventually("the log line", lambda: logged(caplog, peer.address, "is 100"))
    with pytest.raises(ValueError, match="above that of the protocol"):
        Server(limits={"value_bytes": 1 << 30})
