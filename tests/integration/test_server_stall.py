"""A server that did not run for a while: nobody is judged before what came meanwhile is read."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
from support.process import ServerProcess
from support.wire import RawPeer, native_frame, native_hello, native_string

JOIN, STATUS, KEEP_ALIVE, SET_FOR, TRY_GET = 26, 30, 28, 23, 20
NO_TIMEOUT = 0xFFFFFFFF
RUN = native_string(b"run")


def node(name: bytes) -> bytes:
    return native_string(name) + struct.pack("<QQ", 1, 0)


def join(name: bytes, grace_ms: int, interval_ms: int = 3_600_000) -> bytes:
    """A JOIN of a run of two nodes, which are lost after three missed keep-alives."""
    settings = struct.pack("<IIQQI", 2, 2, 1000, interval_ms, 3)
    body = struct.pack("<I", NO_TIMEOUT) + RUN + node(name) + settings
    return native_frame(JOIN, body + struct.pack("<QII", 0, grace_ms, 1))


def lost_nodes(peer: RawPeer, name: bytes) -> int:
    """How many nodes of the run are lost."""
    peer.send(native_frame(STATUS, RUN + node(name)))
    while (frame := peer.receive_frame())[0] != STATUS:
        pass
    lost: int = struct.unpack_from("<I", frame[3], 1 + 8 + 1 + 1 + 8 + 4 + 1 + 28 + 12)[0]
    return lost


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


def member(server: ServerProcess, name: bytes, **times: int) -> RawPeer:
    peer = RawPeer(server.port, native_hello() + join(name, **times))
    assert peer.receive_frame()[0] == 1
    return peer


@pytest.mark.parametrize("at_once", [True, False], ids=["sends all at once", "waits for HELLO"])
def test_a_node_that_is_back_within_its_grace_is_not_lost(
    server: ServerProcess, at_once: bool
) -> None:
    """Also if the server was stopped meanwhile, and has to be asked once more after it."""
    grace_ms = 1000
    first = member(server, b"a", grace_ms=grace_ms)
    with member(server, b"b", grace_ms=grace_ms) as other:
        assert first.receive_frame()[0] == JOIN
        assert other.receive_frame()[0] == JOIN
        first.close()
        # The server knows that it is gone.
        other.send(native_frame(KEEP_ALIVE, struct.pack("<I", 1)))
        assert other.receive_frame()[0] == KEEP_ALIVE
        server.pause()
        with RawPeer(server.port, native_hello()) as back:
            if at_once:
                back.send(join(b"a", grace_ms))
            time.sleep(1.5 * grace_ms / 1000)
            server.resume()
            assert back.receive_frame()[0] == 1
            if not at_once:
                back.send(join(b"a", grace_ms))
            # A round later its grace would be over, if it had been running.
            assert lost_nodes(other, b"b") == 0
            time.sleep(1.5 * grace_ms / 1000)
            assert lost_nodes(other, b"b") == 0


def test_keep_alives_that_were_sent_in_time_count_however_late_they_are_read(
    server: ServerProcess,
) -> None:
    """A stop of many keep-alive intervals loses nobody."""
    interval_ms = 200
    beat = native_frame(KEEP_ALIVE, struct.pack("<I", 1))
    with (
        member(server, b"a", grace_ms=1000, interval_ms=interval_ms) as first,
        member(server, b"b", grace_ms=1000, interval_ms=interval_ms) as second,
    ):
        assert first.receive_frame()[0] == JOIN
        assert second.receive_frame()[0] == JOIN
        server.pause()
        for _ in range(8):
            first.send(beat)
            second.send(beat)
            time.sleep(interval_ms / 1000)
        server.resume()
        assert lost_nodes(second, b"b") == 0
        assert lost_nodes(first, b"a") == 0


def test_a_key_with_a_time_to_live_outlives_a_stop_if_its_renewal_was_sent(
    server: ServerProcess,
) -> None:
    """Whoever is read first must not find it gone."""
    key = native_string(b"/lease")
    renewal = native_frame(SET_FOR, struct.pack("<Q", 1000) + key + native_string(b"v"))
    with (
        RawPeer(server.port, native_hello()) as owner,
        RawPeer(server.port, native_hello()) as other,
    ):
        assert owner.receive_frame()[0] == 1
        assert other.receive_frame()[0] == 1
        owner.send(renewal)
        assert owner.receive_frame()[1] == 0
        server.pause()
        other.send(native_frame(TRY_GET, key))
        owner.send(renewal)
        time.sleep(1.5)
        server.resume()
        assert owner.receive_frame()[1] == 0
        _, status, _, body = other.receive_frame()
        assert status == 0
        assert body.endswith(native_string(b"v")), body
