"""The server's c10d protocol byte by byte: what is answered, what is refused, what is logged."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable

import pytest
from support import wire
from support.background import eventually
from support.process import ServerProcess
from support.wire import RawPeer

from rendezvous import Server, TCPStore

Connect = Callable[..., TCPStore]
MIB = 1024 * 1024


@pytest.mark.parametrize("step", [1, 3, 1440])
def test_session_in_pieces_of_any_size(server: Server, step: int) -> None:
    """A whole session is understood however its bytes arrive, VALIDATE included."""
    session = (
        wire.C10D_VALIDATE
        + wire.c10d_ping(0x55667788)
        + wire.c10d(wire.SET, b"/k", b"value")
        + wire.c10d(wire.GET, b"/k")
        + wire.c10d(wire.ADD, b"/n")
        + struct.pack("<q", -3)
        + wire.c10d(wire.COMPARE_SET, b"/k", b"value", b"new")
        + wire.c10d_list(wire.CHECK, b"/k", b"/missing")
        + wire.c10d_list(wire.WAIT, b"/k", b"/n")
        + bytes([wire.NUM_KEYS])
        + wire.c10d(wire.APPEND, b"/k", b"er")
        + wire.c10d_list(wire.MULTI_SET, b"/a", b"1", b"/b", b"", items=2)
        + wire.c10d_list(wire.MULTI_GET, b"/k", b"/b", b"/a")
        + wire.c10d(wire.DELETE_KEY, b"/k")
        + wire.c10d(wire.DELETE_KEY, b"/k")
        + wire.c10d(wire.GET, b"/k")
        + bytes([wire.CANCEL_WAIT])
    )
    expected = (
        struct.pack("<I", 0x55667788)
        + wire.string(b"value")
        + struct.pack("<q", -3)
        + wire.string(b"new")
        + b"\x01"
        + b"\x00"
        + struct.pack("<q", 2)
        + wire.string(b"newer")
        + wire.string(b"")
        + wire.string(b"1")
        + struct.pack("<qq", 1, 0)
        + wire.string(b"")
        + b"\x01"
    )
    with RawPeer(server.port) as peer:
        for begin in range(0, len(session), step):
            peer.send(session[begin : begin + step])
        assert peer.receive(len(expected)) == expected


def test_old_clients_need_no_ping(server: Server) -> None:
    """The first request may follow VALIDATE directly."""
    with RawPeer(server.port, wire.C10D_VALIDATE + bytes([wire.NUM_KEYS])) as peer:
        assert peer.receive(8) == struct.pack("<q", 0)


def test_parked_wait_does_not_hold_up_the_connection(server: Server, connect: Connect) -> None:
    """Other requests of the connection are answered while a WAIT is parked."""
    with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
        peer.send(wire.c10d_list(wire.WAIT, b"/a", b"/b") + wire.c10d_list(wire.CHECK, b"/a"))
        assert peer.receive(1) == b"\x01"
        peer.send(wire.c10d(wire.SET, b"/a", b""))
        peer.synchronise()
        connect().set("b", "")
        assert peer.receive(1) == b"\x00"


def test_cancelled_wait_is_not_answered_later(server: Server, connect: Connect) -> None:
    """After CANCEL_WAIT only its own answer comes; the keys may come later."""
    with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
        peer.send(wire.c10d_list(wire.WAIT, b"/k") + bytes([wire.CANCEL_WAIT]))
        assert peer.receive(1) == b"\x01"
        connect().set("k", "")
        peer.synchronise()


def test_wait_answered_before_its_cancel(server: Server, connect: Connect) -> None:
    """A CANCEL_WAIT that comes too late is answered behind the WAIT's answer."""
    with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
        peer.send(wire.c10d_list(wire.WAIT, b"/k"))
        peer.synchronise()
        connect().set("k", "")
        assert peer.receive(1) == b"\x00"
        peer.send(bytes([wire.CANCEL_WAIT]))
        assert peer.receive(1) == b"\x01"


def test_waits_of_a_peer_that_left_are_forgotten(server: Server, connect: Connect) -> None:
    """A key that only gone peers waited for can be set without harm."""
    for _ in range(20):
        with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
            peer.send(wire.c10d_list(wire.WAIT, b"/k", b"/l"))
            peer.synchronise()
            peer.reset()
    store = connect()
    store.multi_set(["k", "l"], ["", ""])
    assert store.num_keys() == 2


def test_failed_compare_set_wakes_no_wait(server: Server) -> None:
    """A COMPARE_SET that sets nothing leaves a WAIT parked; a creating one answers it."""
    with (
        RawPeer(server.port, wire.C10D_VALIDATE) as waiter,
        RawPeer(server.port, wire.C10D_VALIDATE) as writer,
    ):
        waiter.send(wire.c10d_list(wire.WAIT, b"/k"))
        waiter.synchronise()
        writer.send(wire.c10d(wire.COMPARE_SET, b"/k", b"expected", b"desired"))
        assert writer.receive_string() == b"expected"
        waiter.synchronise()
        writer.send(wire.c10d(wire.COMPARE_SET, b"/k", b"", b"created"))
        assert writer.receive_string() == b"created"
        assert waiter.receive(1) == b"\x00"


REFUSED = {
    "SET with a key of 16386 bytes; the limit is 16385": wire.c10d(wire.SET, b"/" * 16386, b""),
    "SET with a value of 67108865 bytes; the limit is 67108864": (
        b"\x01" + wire.string(b"/k") + struct.pack("<Q", 64 * MIB + 1)
    ),
    "GET with a key of 18446744073709551615 bytes": b"\x03" + b"\xff" * 8,
    "CHECK of 131073 keys; the limit is 131072": b"\x05" + struct.pack("<Q", 131073),
    "MULTI_SET of 18446744073709551615 keys": b"\x0b" + struct.pack("<q", -1),
    "unknown operation code 99": b"\x63",
    "add to key '/text': its value 'abc' is not a decimal": (
        wire.c10d(wire.SET, b"/text", b"abc") + wire.c10d(wire.ADD, b"/text") + b"\x01" + b"\0" * 7
    ),
    "APPEND would make the value of key '/k' 67108865 bytes; the limit is 67108864": (
        wire.c10d(wire.SET, b"/k", b"v" * (64 * MIB)) + wire.c10d(wire.APPEND, b"/k", b"v")
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused_is_logged(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    """The protocol has no errors: the connection ends, and Python's logging says who did what."""
    caplog.set_level(logging.WARNING, "rendezvous.server")
    with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
        address = peer.address
        peer.send(REFUSED[reason])
        peer.wait_closed()
    eventually("the log line", lambda: address in caplog.text)
    [record] = [r for r in caplog.records if address in r.getMessage()]
    assert (record.name, record.levelno) == ("rendezvous.server", logging.WARNING)
    assert reason in record.getMessage()
    assert f"127.0.0.1:{server.port}" in record.getMessage()
    connect().ping()


def test_peers_that_just_leave_are_not_logged(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Ending processes are no news."""
    caplog.set_level(logging.INFO, "rendezvous.server")
    for leave in (RawPeer.close, RawPeer.reset):
        with RawPeer(server.port, wire.C10D_VALIDATE) as peer:
            peer.synchronise()
            leave(peer)
    connect().ping()
    with RawPeer(server.port, b"The last line\n") as peer:
        peer.wait_closed()
    eventually("the last line", lambda: "The last line" in caplog.text)
    said = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([r for r in said if f":{server.port}:" in r.getMessage()]) == 1


def memory_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


@pytest.mark.parametrize("protocol", ["c10d", "native"])
def test_a_peer_that_never_reads_costs_little(connect: Connect, protocol: str) -> None:
    """Replies that nobody reads do not pile up, hold up nobody, and are not lost."""
    count = 300
    get = wire.c10d(wire.GET, b"/big")
    if protocol == "native":
        get = wire.native_frame(wire.NATIVE_GET, b"\0\0\0\0" + wire.native_string(b"/big"))
    hello = wire.C10D_VALIDATE if protocol == "c10d" else wire.native_hello()
    with ServerProcess() as process, RawPeer(process.port, hello, receive_buffer=65536) as peer:
        if protocol == "native":
            peer.receive_frame()
        store = connect(process.port)
        store.set("big", b"v" * MIB)
        before = memory_kib(process.pid)
        peer.send(get * count)
        for i in range(50):
            assert store.add("n", 1) == i + 1
        assert memory_kib(process.pid) - before < 64 * 1024
        for _ in range(count):
            if protocol == "c10d":
                assert len(peer.receive_string()) == MIB
            else:
                assert len(peer.receive_frame()[3]) > MIB
