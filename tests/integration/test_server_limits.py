"""Every limit of a server on memory, set low: what is beyond it, and that the others go on."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from support import run_wire, wire
from support.background import BACKSTOP_S, eventually
from support.logs import logged
from support.run_wire import NO_TIMEOUT, RunPeer, waiting_get
from support.wire import RawPeer, c10d_list, native_frame, native_hello, native_string

from rendezvous import Server, StoreLimitError, TCPStore

Connect = Callable[..., TCPStore]

LIMIT = 4  # status: beyond a limit
GET, WAIT, MULTI_GET, QUEUE_PUSH, QUEUE_POP, BARRIER, WATCH, EXCHANGE = 4, 8, 13, 16, 17, 19, 21, 25


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rendezvous")


def strings(*items: bytes) -> bytes:
    return struct.pack("<I", len(items)) + b"".join(map(native_string, items))


def forever(*items: bytes) -> bytes:
    """The body of a WAIT or MULTI_GET."""
    return struct.pack("<I", NO_TIMEOUT) + strings(*items)


# What a native client may wait for, each with a key of `size` bytes.
PARKED: dict[str, Callable[[int], tuple[int, bytes]]] = {
    "get": waiting_get,
    "wait": lambda size: (WAIT, forever(b"/" + b"k" * size)),
    "multi_get": lambda size: (MULTI_GET, forever(*[b"/" + b"k" * (size // 4)] * 4)),
    "queue_pop": lambda size: (
        QUEUE_POP,
        struct.pack("<I", NO_TIMEOUT) + native_string(b"/" + b"k" * size),
    ),
    "watch": lambda size: (
        WATCH,
        struct.pack("<I", NO_TIMEOUT) + native_string(b"/" + b"k" * size) + bytes(8),
    ),
    "barrier": lambda size: (
        BARRIER,
        struct.pack("<I", NO_TIMEOUT)
        + native_string(b"/" + b"k" * size)
        # World size, no rank, the first round, a token.
        + struct.pack("<qqqQ", 999, -1, 1, 1),
    ),
    "exchange": lambda size: (
        EXCHANGE,
        struct.pack("<I", NO_TIMEOUT)
        + native_string(b"/" + b"k" * size)
        + struct.pack("<qq", 0, 9)
        + native_string(b"v"),
    ),
}


@pytest.mark.parametrize("kind", PARKED)
def test_parked_bytes_per_connection(kind: str) -> None:
    """What one connection waits for is refused beyond its limit, and can be asked for by others."""
    operation, body = PARKED[kind](4000)
    with (
        Server(limits={"parked_bytes_per_connection": 20_000}) as server,
        RunPeer(server.port) as peer,
        RunPeer(server.port) as other,
    ):
        for _ in range(10):
            peer.ask(operation, body)
        _, status, _, message = peer.receive_frame()
        assert status == LIMIT
        assert b"parked_bytes_per_connection is 20000" in message
        peer.synchronise_native()
        other.ask(operation, body)
        other.synchronise_native()


def test_who_cannot_wait_at_a_barrier_has_not_come() -> None:
    """A refused arrival is taken back: nobody passes the barrier because of it."""
    with (
        Server(limits={"parked_bytes_per_connection": 100}) as server,
        TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S) as store,
    ):
        with pytest.raises(StoreLimitError, match="parked_bytes_per_connection"):
            store.barrier("b", 2)
        assert store.get("b") == b"0"


@pytest.mark.parametrize("kind", ["join", "subscribe"])
def test_parked_bytes_of_runs(kind: str) -> None:
    """JOINs and SUBSCRIBEs that wait are counted like any other request."""
    settings = run_wire.Settings(100, 100)
    with (
        Server(limits={"parked_bytes_per_connection": 5_000}) as server,
        RunPeer(server.port) as peer,
    ):
        for i in range(50):
            if kind == "join":
                body = run_wire.join(b"r", b"n%d" % i, settings, handle=i)
            else:
                body = run_wire.subscribe(b"r", b"n%d" % i)
            peer.ask(run_wire.JOIN if kind == "join" else run_wire.SUBSCRIBE, body)
        _, status, _, message = peer.receive_frame()
        assert status == LIMIT
        assert b"parked_bytes_per_connection" in message


def test_parked_bytes_are_given_back() -> None:
    """Requests that were answered, cancelled, or whose time was over take nothing any more."""
    with (
        Server(limits={"parked_bytes_per_connection": 20_000}) as server,
        RunPeer(server.port) as peer,
        RunPeer(server.port) as other,
    ):
        key = b"/" + b"k" * 3000
        for _ in range(20):
            waiting = peer.ask(GET, struct.pack("<I", NO_TIMEOUT) + native_string(key))
            peer.ping()
            other.call(wire.NATIVE_SET, native_string(key) + native_string(b"v"))
            assert peer.receive_frame()[1:3] == (0, waiting)
            other.call(9, native_string(key))
        for _ in range(20):
            cancelled = peer.ask(GET, struct.pack("<I", NO_TIMEOUT) + native_string(key))
            peer.ask(15, struct.pack("<HQ", 0, cancelled))
        for _ in range(20):
            assert peer.call(GET, struct.pack("<I", 1) + native_string(key))[0] == 2
        peer.ping()


def test_parked_bytes_of_c10d(caplog: pytest.LogCaptureFixture) -> None:
    """A c10d client, which cannot be told, is disconnected with a log line."""
    wait = c10d_list(wire.WAIT, *[b"/" + b"k" * 1000] * 4)
    with (
        Server(limits={"parked_bytes_per_connection": 20_000}) as server,
        RawPeer(server.port, wire.C10D_VALIDATE) as peer,
        RawPeer(server.port, wire.C10D_VALIDATE) as other,
    ):
        peer.send(wait * 10)
        assert peer.wait_closed() == b""
        eventually("the log line", lambda: logged(caplog, peer.address, "parked_bytes_per_conn"))
        other.send(wait)
        other.synchronise()


def test_parked_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """When all together wait for too much, whoever has most goes, or is refused."""
    with (
        Server(limits={"parked_bytes": 100_000}) as server,
        RunPeer(server.port) as greedy,
        RunPeer(server.port) as modest,
        RunPeer(server.port) as another,
    ):
        for _ in range(14):
            greedy.ask(*PARKED["get"](4000))
        greedy.ping()
        for peer in (modest, another):
            for _ in range(4):
                peer.ask(*PARKED["get"](4000))
            peer.ping()
        assert greedy.wait_closed() == b""
        eventually("the log line", lambda: logged(caplog, greedy.address, "parked_bytes is 100000"))
        for _ in range(20):
            modest.ask(*PARKED["get"](4000))
        _, status, _, message = modest.receive_frame()
        assert status == LIMIT
        assert b"parked_bytes" in message
        another.ping()


def test_waits_per_connection() -> None:
    """All kinds of requests that wait are counted together."""
    with Server(limits={"waits_per_connection": 3}) as server, RunPeer(server.port) as peer:
        peer.ask(*PARKED["get"](1))
        peer.ask(run_wire.SUBSCRIBE, run_wire.subscribe(b"r"))
        peer.ask(run_wire.JOIN, run_wire.join(b"r", settings=run_wire.Settings(2, 2)))
        for operation, body in (
            PARKED["watch"](1),
            (run_wire.SUBSCRIBE, run_wire.subscribe(b"s")),
            (run_wire.JOIN, run_wire.join(b"s", settings=run_wire.Settings(2, 2), handle=2)),
        ):
            status, message = peer.call(operation, body)
            assert status == LIMIT
            assert b"waits_per_connection" in message


def test_greeting_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """Before HELLO a peer may send little; right behind it as much as it likes."""
    with Server(limits={"greeting_bytes": 200}) as server:
        with RawPeer(server.port, native_hello()[:8]) as peer:
            peer.send(struct.pack("<IBBHQ", 256 << 20, 1, 0, 0, 0) + b"x" * 1000)
            assert peer.wait_closed() == b""
            eventually("the log line", lambda: logged(caplog, peer.address, "200 bytes before"))
        request = native_frame(wire.NATIVE_SET, native_string(b"/k") + native_string(b"v" * 10_000))
        for cut in (0, 3, 8, 20, len(native_hello()) - 1):
            with RawPeer(server.port, native_hello()[:cut]) as peer:
                with RawPeer(server.port, wire.C10D_VALIDATE) as other:
                    other.synchronise()
                peer.send(native_hello()[cut:] + request * 3)
                assert [peer.receive_frame()[1] for _ in range(4)] == [0] * 4


@pytest.mark.parametrize(
    "said", [b"", b"R", native_hello()[:8], native_hello()[:-1], wire.C10D_VALIDATE[:-1]]
)
def test_greeting_ms(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Who does not say in time who it is, is disconnected; who has said it may be silent."""
    with (
        Server(limits={"greeting_ms": 2000}) as server,
        RunPeer(server.port) as native,
        RawPeer(server.port, wire.C10D_VALIDATE) as torch,
    ):
        torch.synchronise()
        with RawPeer(server.port, said) as peer:
            assert peer.wait_closed() == b""
            eventually("the log line", lambda: logged(caplog, peer.address, "neither HELLO nor"))
        native.ping()
        torch.synchronise()


@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_input_bytes(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of requests that do not become whole all connections together keep so much."""
    if protocol == "native":
        begin, hello = struct.pack("<IBBHQ", 50_000_000, wire.NATIVE_SET, 0, 0, 1), native_hello()
    else:
        begin = bytes([wire.SET]) + wire.string(b"/k") + struct.pack("<Q", 50_000_000)
        hello = wire.C10D_VALIDATE
    with (
        Server(limits={"input_bytes": 10_000_000}) as server,
        RawPeer(server.port, hello + begin + b"x" * 1_000_000) as modest,
        RawPeer(server.port, hello + begin) as greedy,
        RunPeer(server.port) as other,
    ):
        with suppress(ConnectionError):
            for _ in range(50):
                greedy.send(b"x" * 1_000_000)
        eventually("the log line", lambda: logged(caplog, greedy.address, "input_bytes"))
        other.ping()
        modest.send(b"x" * 1_000_000)
        other.ping()
        assert not logged(caplog, modest.address)


def park_multi_gets(peer: RunPeer, requests: int) -> None:
    """Each for another list of keys, so that no two have the same answer."""
    for i in range(requests):
        peer.ask(MULTI_GET, forever(*[b"/k"] * (1000 + i)))


def test_unsent_bytes_per_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Who does not read what it has waited for is disconnected."""
    with (
        Server(limits={"unsent_bytes_per_connection": 20_000_000}) as server,
        RunPeer(server.port, receive_buffer=4096) as peer,
        RunPeer(server.port) as other,
    ):
        park_multi_gets(peer, 40)
        assert peer.ask(wire.NATIVE_SET, native_string(b"/done") + native_string(b"x"))
        assert other.call(GET, struct.pack("<I", NO_TIMEOUT) + native_string(b"/done"))[0] == 0
        status, _ = other.call(wire.NATIVE_SET, native_string(b"/k") + native_string(b"v" * 4000))
        assert status == 0
        eventually(
            "the log line", lambda: logged(caplog, peer.address, "unsent_bytes_per_connection")
        )
        assert len(peer.wait_closed()) < 40 * 4_000_000
        other.ping()


def test_an_answer_that_is_larger_than_the_limit_is_given() -> None:
    """The limit is for who does not read: an answer may have any size that the protocol allows."""
    with (
        Server(limits={"unsent_bytes_per_connection": 1000, "unread_bytes": 1000}) as server,
        RunPeer(server.port) as peer,
    ):
        peer.call(wire.NATIVE_SET, native_string(b"/k") + native_string(b"v" * 4000))
        for _ in range(3):
            status, answer = peer.call(MULTI_GET, forever(*[b"/k"] * 1000))
            assert status == 0
            assert len(answer) > 4_000_000


def test_one_value_for_many_requests_is_there_once() -> None:
    """Requests of one connection that wait for the same large value do not count it each."""
    with (
        Server(limits={"unsent_bytes_per_connection": 5_000_000}) as server,
        RunPeer(server.port) as peer,
        RunPeer(server.port) as other,
    ):
        for _ in range(50):
            peer.ask(*PARKED["get"](0))
        peer.ping()
        other.call(wire.NATIVE_SET, native_string(b"/") + native_string(b"v" * 1_000_000))
        for _ in range(50):
            _, status, _, answer = peer.receive_frame()
            assert status == 0
            assert len(answer) > 1_000_000


def test_unsent_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """When all together have too much that was not read, whoever has most goes."""
    with (
        Server(limits={"unsent_bytes": 50_000_000}) as server,
        RunPeer(server.port, receive_buffer=4096) as modest,
        RunPeer(server.port, receive_buffer=4096) as greedy,
        RunPeer(server.port) as other,
    ):
        for peer, requests in ((modest, 4), (greedy, 14)):
            park_multi_gets(peer, requests)
            peer.ask(wire.NATIVE_SET, native_string(b"/done") + native_string(b"x"))
            key = struct.pack("<I", NO_TIMEOUT) + native_string(b"/done")
            assert other.call(GET, key)[0] == 0
            other.call(9, native_string(b"/done"))
        other.call(wire.NATIVE_SET, native_string(b"/k") + native_string(b"v" * 4000))
        eventually("the log line", lambda: logged(caplog, greedy.address, "unsent_bytes is"))
        operations = [modest.receive_frame()[:2] for _ in range(5)]
        assert sorted(operations) == [(wire.NATIVE_SET, 0), *[(MULTI_GET, 0)] * 4]


def test_unread_bytes() -> None:
    """Who does not read its answers has its requests left unread until it does."""
    value = b"v" * 1_000_000
    with (
        Server(limits={"unread_bytes": 2_000_000}) as server,
        RunPeer(server.port, receive_buffer=4096) as peer,
        RunPeer(server.port) as other,
    ):
        other.call(wire.NATIVE_SET, native_string(b"/k") + native_string(value))
        for _ in range(40):
            peer.ask(*PARKED["get"](1))
        peer.ask(wire.NATIVE_SET, native_string(b"/behind") + native_string(b"x"))
        for _ in range(100):
            other.ping()
            assert other.call(20, native_string(b"/behind"))[1] == bytes(12)
        for _ in range(40):
            assert peer.receive_frame()[1] == 0
        assert peer.receive_frame()[:2] == (wire.NATIVE_SET, 0)


def test_a_limit_that_does_not_exist() -> None:
    """The message lists those that do; values are whole numbers."""
    with pytest.raises(
        ValueError, match=r"unknown limit 'nodes'.* are connections, connections_per_address"
    ):
        Server(limits={"nodes": 1})
    for value in (-1, 1.5, "1", 1 << 64):
        with pytest.raises(ValueError, match="limit connections is"):
            Server(limits={"connections": value})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="grace_ms"):
        Server(limits={"grace_ms": 1 << 62})
    with Server(limits={"connections": 7}) as server:
        assert server.limits["connections"] == 7
        assert server.limits["greeting_bytes"] == 16 * 1024
