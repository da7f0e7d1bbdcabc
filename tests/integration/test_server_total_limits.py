"""Limits of what all clients have together, or those of one address."""

from __future__ import annotations

import logging
import struct
import time

import pytest
from support.background import BACKSTOP_S, eventually
from support.logs import logged
from support.run_wire import NO_TIMEOUT, RunPeer, waiting_get
from support.wire import RawPeer, native_hello, native_string

from rendezvous import Server, StoreLimitError, TCPStore

LIMIT = 4  # status: beyond a limit
QUEUE_PUSH, WATCH_PREFIX = 16, 36


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rendezvous")


def test_connections(caplog: pytest.LogCaptureFixture) -> None:
    """More than so many are closed again, with one log line; when one leaves, one may come."""
    with Server(limits={"connections": 2}) as server, RunPeer(server.port) as peer:
        with RunPeer(server.port):
            for _ in range(3):
                with RawPeer(server.port) as refused:
                    refused.wait_closed()
            peer.ping()
        eventually("the log line", lambda: logged(caplog, "limit connections is 2"))
        assert sum("limit connections is 2" in text for text in caplog.messages) == 1
        eventually("a place", lambda: _is_served(server.port))


def test_connections_per_address(caplog: pytest.LogCaptureFixture) -> None:
    """Of one address so many are served, and another when one has left."""
    with Server(limits={"connections_per_address": 2}) as server, RunPeer(server.port) as peer:
        with RunPeer(server.port):
            with RawPeer(server.port) as refused:
                refused.send(native_hello())
                assert b"connections_per_address is 2" in refused.wait_closed()
            peer.ping()
        eventually("the log line", lambda: logged(caplog, "connections_per_address is 2"))
        eventually("a place", lambda: _is_served(server.port))


@pytest.mark.parametrize("connections", [1, 3])
def test_requests_per_second_per_address(connections: int) -> None:
    """Those beyond wait, whatever connections they come on; none is lost or refused."""
    rate = 100
    requests = 3 * rate
    with Server(limits={"requests_per_second_per_address": rate}) as server:
        peers = [RunPeer(server.port) for _ in range(connections)]
        begin_s = time.monotonic()
        for number in range(requests):
            peers[number % connections].ask(QUEUE_PUSH, native_string(b"/q") + native_string(b"v"))
        for number in range(requests):
            _, status, _, _ = peers[number % connections].receive_frame()
            assert status == 0
        # A second's worth at once, and the HELLOs.
        assert time.monotonic() - begin_s > (requests - rate - connections) / rate - 0.1
        for peer in peers:
            peer.close()


def _is_served(port: int) -> bool:
    with RawPeer(port) as peer:
        try:
            peer.send(native_hello())
            return bool(peer.socket.recv(1))
        except OSError:
            return False


def test_memory_bytes() -> None:
    """What would be stored is refused; whatever else is asked goes on."""
    with (
        Server(limits={"memory_bytes": 200_000}) as server,
        TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S) as store,
        RunPeer(server.port) as waits,
    ):
        store.set("k", "v")
        operation, body = waiting_get(4000)
        for _ in range(60):
            waits.ask(operation, body)
        waits.synchronise_native()
        with pytest.raises(StoreLimitError, match="memory_bytes is 200000"):
            store.set("other", "v")
        assert store.get("k") == b"v"
        assert store.delete_key("k")
        waits.close()
        eventually("room again", lambda: _takes(store))


def _takes(store: TCPStore) -> bool:
    try:
        store.set("other", "v")
    except StoreLimitError:
        return False
    return True


def test_watch_bytes() -> None:
    """What is remembered for those who watch prefixes is bounded: another prefix is refused."""

    def watch(peer: RunPeer, prefix: bytes, position: bytes = bytes(8)) -> tuple[int, bytes]:
        body = native_string(prefix) + position + native_string(b"")
        return peer.call(WATCH_PREFIX, struct.pack("<I", 0) + body)

    def wait(peer: RunPeer, prefix: bytes, position: bytes) -> None:
        body = native_string(prefix) + position + native_string(b"")
        peer.ask(WATCH_PREFIX, struct.pack("<I", NO_TIMEOUT) + body)

    with (
        Server(limits={"watch_bytes": 5_000}) as server,
        TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S) as store,
        RunPeer(server.port) as peer,
        RunPeer(server.port) as other,
    ):
        for number in range(20):
            status, answer = watch(peer, b"/%d/" % number)
            if status != 0:
                break
            wait(peer, b"/%d/" % number, answer[:8])
        assert status == LIMIT
        assert b"watch_bytes 5000" in answer
        assert watch(other, b"/mine/")[0] == LIMIT
        store.set("mine/1", "v")
        peer.close()
        eventually("room again", lambda: watch(other, b"/mine/")[0] == 0)


@pytest.mark.parametrize("limit", ["waits", "waits_per_space"])
def test_waits(limit: str) -> None:
    """So many requests wait, of all connections; what need not wait is answered."""
    limits = {"waits": {"waits": 3}, "waits_per_space": {"waits_per_space": 3}}[limit]
    operation, body = waiting_get(8)
    with Server(limits=limits) as server, RunPeer(server.port) as one, RunPeer(server.port) as two:
        for peer in (one, two):
            peer.ask(operation, body)
            peer.synchronise_native()
        one.ask(operation, body)
        one.synchronise_native()
        two.ask(operation, body)
        _, status, _, message = two.receive_frame()
        assert status == LIMIT
        assert f"limit {limit} is 3".encode() in message
        store = TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S)
        store.set("there", "v")
        assert store.get("there") == b"v"
        one.close()
        store.set("k" * 8, "v")
        assert two.receive_frame()[1] == 0
