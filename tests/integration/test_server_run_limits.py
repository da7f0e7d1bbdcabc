"""Limits of a server on the runs whose rendezvous it keeps, set low; and what a server that has
forgotten its runs makes of nodes that come back to it with different tales."""

from __future__ import annotations

import logging
import socket
import struct

import pytest
from support import run_wire
from support.background import eventually
from support.run_wire import JOIN, RESUME, SUBSCRIBE, RunPeer, Settings, join, resume, subscribe
from support.wire import native_frame, native_string

from rendezvous import (
    RendezvousParameters,
    RendezvousStateError,
    Server,
    get_rendezvous_handler,
)

LIMIT = 4
STATE = 11
SPARE = 3  # an outcome of JOIN
HOUR_MS = 3_600_000
PAIR = Settings(2, 2)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rendezvous")


def refused(peer: RunPeer, operation: int, body: bytes, text: str) -> None:
    status, message = peer.call(operation, body)
    assert status == LIMIT, message
    assert text in message[4:].decode()


def taken(peer: RunPeer, body: bytes) -> bool:
    status, answer = peer.call(RESUME, body)
    assert status == 0, answer
    return answer[0] == 1


def members(peer: RunPeer, run: bytes = b"r") -> list[str]:
    """The participants' addresses, by rank."""
    ranked = []
    cursor = b""
    while True:
        body = native_string(run) + b"\0" + native_string(cursor) + struct.pack("<I", 1000)
        status, answer = peer.call(run_wire.MEMBERS, body)
        assert status == 0
        (cursor_bytes,) = struct.unpack_from("<I", answer, 4)
        cursor = answer[8 : 8 + cursor_bytes]
        at = 8 + cursor_bytes
        (count,) = struct.unpack_from("<I", answer, at)
        at += 4
        for _ in range(count):
            (size,) = struct.unpack_from("<I", answer, at)
            addr = answer[at + 4 : at + 4 + size].decode()
            at += 4 + size + 8 + 8
            rank, _silent_ms = struct.unpack_from("<II", answer, at)
            ranked.append((rank, addr))
            at += 8
        if not cursor:
            return [addr for _, addr in sorted(ranked)]


@pytest.mark.parametrize("operation", ["join", "resume"])
@pytest.mark.parametrize(
    ("name", "settings", "grace_ms"),
    [
        ("grace_ms", Settings(), 60_001),
        ("grace_ms", Settings(), 0xFFFFFFFF),
        ("keep_alive_window_ms", Settings(1, 1, 1000, 20_001, 3), 0),
        ("keep_alive_window_ms", Settings(1, 1, 1000, 1 << 39, 1_000_000), 0),
        ("last_call_ms", Settings(1, 1, 60_001, 20_000, 3), 0),
    ],
)
def test_times_for_which_a_run_is_kept(
    operation: str, name: str, settings: Settings, grace_ms: int
) -> None:
    """grace_ms, keep_alive_window_ms, last_call_ms: what is longer is refused, and keeps no run."""
    limits = {"grace_ms": 60_000, "keep_alive_window_ms": 60_000, "last_call_ms": 60_000}
    with Server(limits=limits) as server, RunPeer(server.port) as peer:
        if operation == "join":
            refused(peer, JOIN, join(b"r", settings=settings, grace_ms=grace_ms), name)
            fine = join(b"r", settings=Settings(1, 1, 60_000, 20_000, 3), grace_ms=60_000)
            assert not peer.knows(b"r")
            assert peer.call(JOIN, fine)[0] == 0
        else:
            body = resume(b"r", b"n", settings, (5, 0, 1), grace_ms=grace_ms)
            refused(peer, RESUME, body, name)
            assert not peer.knows(b"r")
            fine_settings = Settings(1, 1, 60_000, 20_000, 3)
            assert taken(peer, resume(b"r", b"n", fine_settings, (5, 0, 1), grace_ms=60_000))


def test_no_default_lets_a_client_keep_a_run_for_weeks() -> None:
    """Whatever a client asks for, a run that it has left is gone after a week."""
    with Server() as server:
        for name in ("grace_ms", "keep_alive_window_ms", "last_call_ms", "idle_run_ms"):
            assert server.limits[name] <= 7 * 24 * HOUR_MS


def test_a_handler_is_told_at_once_that_its_settings_are_beyond_a_limit() -> None:
    """It does not try again until its time is over."""
    with Server(limits={"keep_alive_window_ms": 60_000}) as server:
        handler = get_rendezvous_handler(
            RendezvousParameters(
                "c10d",
                f"127.0.0.1:{server.port}",
                "r",
                1,
                1,
                keep_alive_interval=100,
                join_timeout=3600,
                is_host=False,
            )
        )
        with pytest.raises(RendezvousStateError, match="keep_alive_window_ms"):
            handler.next_rendezvous()
        handler.shutdown()


def test_runs_per_connection() -> None:
    """A connection has to do with so many runs, in whatever way, and may leave one for another."""
    with Server(limits={"runs_per_connection": 2}) as server, RunPeer(server.port) as peer:
        assert peer.call(JOIN, join(b"a", handle=1))[0] == 0
        watching = peer.ask(SUBSCRIBE, subscribe(b"b"))
        for operation, body in (
            (JOIN, join(b"c", handle=2)),
            (RESUME, resume(b"c", b"n", PAIR, (5, 0, 2), handle=2)),
            (SUBSCRIBE, subscribe(b"c")),
        ):
            refused(peer, operation, body, "runs_per_connection")
        assert not peer.knows(b"c")
        # Again in those that it is in.
        assert peer.call(RESUME, resume(b"b", b"n", PAIR, (5, 0, 2), handle=2))[0] == 0
        peer.ask(15, struct.pack("<HQ", 0, watching))
        refused(peer, JOIN, join(b"c", handle=3), "runs_per_connection")
        assert peer.call(run_wire.LEAVE, run_wire.leave(b"a"))[0] == 0
        assert peer.call(JOIN, join(b"c", handle=3))[0] == 0
        with RunPeer(server.port) as other:
            assert other.call(JOIN, join(b"d"))[0] == 0


def abandon(port: int, runs: list[bytes], *, grace_ms: int = HOUR_MS) -> None:
    """Join each run on one connection, and hang up; the server has seen that when this returns."""
    with RunPeer(port) as peer:
        for handle, run in enumerate(runs):
            peer.ask(JOIN, join(run, b"gone", PAIR, grace_ms=grace_ms, handle=handle))
        peer.ping()
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.wait_closed() == b""


def test_runs_are_not_kept_from_others_by_who_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A new run takes the place of the one that has been without a connection for longest."""
    names = [b"r%d" % i for i in range(4)]
    with Server(limits={"runs": 4}) as server, RunPeer(server.port) as peer:
        for name in names:
            # Each is left before the next one is made: the connection ends when the server closes.
            abandon(server.port, [name])
        # Somebody is back in the oldest one.
        back = RunPeer(server.port)
        back.ask(JOIN, join(b"r0", b"gone", PAIR))
        back.ping()
        assert peer.call(JOIN, join(b"new"))[0] == 0
        assert [peer.knows(name) for name in names] == [True, False, True, True]
        eventually("the log line", lambda: "dropped run 'r1'" in caplog.text)
        # One that was left as it should be goes before those whose nodes may come back.
        peer.call(run_wire.LEAVE, run_wire.leave(b"new"))
        assert peer.call(JOIN, join(b"newer", handle=2))[0] == 0
        assert [peer.knows(name) for name in (*names, b"new")] == [True, False, True, True, False]
        # Only runs that somebody is connected to are left in the end.
        for i in range(2):
            assert peer.call(JOIN, join(b"more%d" % i, handle=10 + i))[0] == 0
        refused(peer, JOIN, join(b"last", handle=99), "limits are runs 4")
        assert peer.knows(b"r0")
        back.close()


def test_runs_that_are_only_watched_take_the_place_of_none() -> None:
    """They have a number of their own, and jobs that begin have theirs."""
    with Server(limits={"runs": 4}) as server, RunPeer(server.port) as watcher:
        for i in range(4):
            watcher.ask(SUBSCRIBE, subscribe(b"watched%d" % i))
        watcher.ping()
        with RunPeer(server.port) as peer:
            refused(peer, SUBSCRIBE, subscribe(b"one more"), "limit runs is 4")
            for i in range(4):
                assert peer.call(JOIN, join(b"job%d" % i, handle=i))[0] == 0
            refused(peer, JOIN, join(b"watched0", handle=9), "limits are runs 4")
            assert peer.call(run_wire.LEAVE, run_wire.leave(b"job0"))[0] == 0
            assert peer.call(JOIN, join(b"watched0", handle=9))[0] == 0
            assert [peer.knows(b"job%d" % i) for i in range(2)] == [False, True]


def test_runs_that_were_abandoned_by_one_connection_make_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many runs of one client that has gone do not keep anybody out."""
    with Server(limits={"runs": 50, "runs_per_connection": 20}) as server:
        for i in range(10):
            abandon(server.port, [b"evil%d-%d" % (i, j) for j in range(20)])
        with RunPeer(server.port) as peer:
            assert peer.call(JOIN, join(b"mine"))[0] == 0


@pytest.mark.parametrize("limit", ["run_bytes", "run_bytes_per_space"])
def test_run_bytes(limit: str) -> None:
    """Nodes take memory by the server's count; who has gone makes room, who is there stays."""
    settings = Settings(1000, 1000)
    said = {"run_bytes": "run_bytes 100000", "run_bytes_per_space": "per_space is 100000"}[limit]
    with Server(limits={limit: 100_000}) as server, RunPeer(server.port) as peer:
        for i in range(200):
            peer.ask(JOIN, join(b"r", b"n%d" % i, settings, handle=i))
        _, status, first, message = peer.receive_frame()
        assert status == LIMIT
        assert said.encode() in message
        assert first > 50
        peer.synchronise_native()
        used = server.report()["spaces"]["default"]["run_bytes"]
        assert 90_000 < used <= 100_000
        with RunPeer(server.port) as other:
            refused(other, JOIN, join(b"s"), said)
            refused(other, JOIN, join(b"r", b"other", settings), said)
            peer.close()
            eventually("the nodes are gone", lambda: other.call(JOIN, join(b"s"))[0] == 0)


def test_run_bytes_of_abandoned_runs() -> None:
    """Nodes within their grace are the first to go."""
    settings = Settings(1000, 1000)
    with Server(limits={"run_bytes": 100_000}) as server:
        for run in (b"a", b"b", b"c"):
            with RunPeer(server.port) as peer:
                for i in range(50):
                    peer.ask(JOIN, join(run, b"n%d" % i, settings, handle=i, grace_ms=HOUR_MS))
                peer.ping()
        with RunPeer(server.port) as peer:
            eventually("room", lambda: peer.call(JOIN, join(b"mine"))[0] == 0)
            assert not peer.knows(b"a")


def test_nodes_per_connection() -> None:
    """A connection speaks for so many nodes, in all its runs."""
    with Server(limits={"nodes_per_connection": 2}) as server, RunPeer(server.port) as peer:
        assert peer.call(JOIN, join(b"a", handle=1))[0] == 0
        assert peer.call(JOIN, join(b"b", handle=2))[0] == 0
        refused(peer, JOIN, join(b"c", handle=3), "nodes_per_connection")
        refused(peer, RESUME, resume(b"c", b"n", PAIR, (5, 0, 2), handle=3), "nodes_per_connection")
        assert peer.call(run_wire.LEAVE, run_wire.leave(b"a"))[0] == 0
        assert peer.call(JOIN, join(b"c", handle=3))[0] == 0


def test_idle_runs() -> None:
    """So many runs that nobody is in are remembered, the latest ones."""
    with Server(limits={"idle_runs": 2}) as server, RunPeer(server.port) as peer:
        for run in (b"a", b"b", b"c"):
            assert peer.call(run_wire.CLOSE_RUN, run_wire.close(run))[0] == 0
        assert [peer.knows(run) for run in (b"a", b"b", b"c")] == [False, True, True]


def test_idle_run_ms() -> None:
    """A run that nobody is in is forgotten after a time."""
    with Server(limits={"idle_run_ms": 100}) as server, RunPeer(server.port) as peer:
        assert peer.call(run_wire.CLOSE_RUN, run_wire.close(b"a"))[0] == 0
        eventually("the run is forgotten", lambda: not peer.knows(b"a"))


def test_ranks_that_have_not_come_take_no_memory() -> None:
    """A RESUME in a large world costs the server no more than one in a small one."""
    with Server(limits={"run_bytes": 100_000}) as server, RunPeer(server.port) as peer:
        large = Settings(1, 131_072)
        for i in range(20):
            assert taken(peer, resume(b"r%d" % i, b"n", large, (5, 7, 131_072), handle=i))
        assert members(peer, b"r0")[6:9] == ["rank 6", "n", "rank 8"]


def test_a_stale_resume_does_not_beat_the_living_job(caplog: pytest.LogCaptureFixture) -> None:
    """After a restart the later round counts, whoever comes first; the others join it."""
    settings = Settings(2, 4)
    with Server() as server, RunPeer(server.port) as stale, RunPeer(server.port) as watcher:
        assert taken(stale, resume(b"r", b"stale", settings, (5, 1, 4)))
        assert members(watcher) == ["rank 0", "stale", "rank 2", "rank 3"]
        late = RunPeer(server.port)
        assert late.call(JOIN, join(b"r", b"late", settings))[1][0] == SPARE
        late.ask(JOIN, join(b"r", b"late", settings, is_spare=True))
        late.ping()
        living = [RunPeer(server.port) for _ in range(3)]
        for rank, peer in enumerate(living):
            assert taken(peer, resume(b"r", b"living%d" % rank, settings, (7, rank, 3)))
        assert members(watcher) == ["living0", "living1", "living2"]
        eventually("the log line", lambda: "replaces round 5" in caplog.text)
        # Nobody of the living is told to leave, but of the one that waits.
        for peer in living:
            known, changes, closed = struct.unpack("<BIB", peer.call(28, struct.pack("<I", 1))[1])
            assert (known, changes, closed) == (1, 1, 0)
        # The stale one is told that it is not known, and cannot come back with its round.
        assert stale.call(28, struct.pack("<I", 1))[1][0] == 0
        assert not taken(stale, resume(b"r", b"stale", settings, (5, 1, 4)))
        for peer in (*living, late):
            peer.close()


def test_a_later_round_with_other_settings_ends_joins_with_the_old_ones() -> None:
    """Who waits with a stale round's settings is told to join again, and then why it cannot."""
    old, new = Settings(2, 4), Settings(2, 3)
    with (
        Server() as server,
        RunPeer(server.port) as stale,
        RunPeer(server.port) as waiting,
        RunPeer(server.port) as living,
    ):
        assert taken(stale, resume(b"r", b"stale", old, (5, 1, 4)))
        assert waiting.call(JOIN, join(b"r", b"waiting", old))[1][0] == SPARE
        tag = waiting.ask(JOIN, join(b"r", b"waiting", old, is_spare=True))
        waiting.ping()
        assert living.call(RESUME, resume(b"r", b"living", new, (5, 0, 3)))[0] == STATE
        assert taken(living, resume(b"r", b"living", new, (7, 0, 3)))
        operation, status, answered, answer = waiting.receive_frame()
        assert (operation, status, answered, answer[0]) == (JOIN, 0, tag, 2)
        assert waiting.call(JOIN, join(b"r", b"waiting", old))[0] == STATE


def test_what_joined_here_is_not_replaced() -> None:
    """A round that this server saw being formed is the latest one, whatever a node says."""
    with Server() as server, RunPeer(server.port) as node, RunPeer(server.port) as stale:
        assert node.call(JOIN, join(b"r", b"n"))[0] == 0
        assert not taken(stale, resume(b"r", b"stale", Settings(), (7, 0, 1)))
        assert members(node) == ["n"]


def test_a_request_that_is_refused_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of refused JOINs, for runs of which each is new, keeps nothing."""
    with Server(limits={"runs": 3, "grace_ms": 1000}) as server, RunPeer(server.port) as peer:
        for i in range(100):
            peer.send(native_frame(JOIN, join(b"r%d" % i, grace_ms=1001), 1000 + i))
            assert peer.receive_frame()[1] == LIMIT
        assert not any(peer.knows(b"r%d" % i) for i in range(100))
        assert peer.call(JOIN, join(b"mine"))[0] == 0


def test_runs_per_space() -> None:
    """So many runs are kept in one name space."""
    with Server(limits={"runs_per_space": 1}) as server, RunPeer(server.port) as peer:
        peer.ask(JOIN, join(b"a", b"n1", PAIR, handle=1))
        refused(peer, JOIN, join(b"b", b"n1", PAIR, handle=2), "runs_per_space is 1")
