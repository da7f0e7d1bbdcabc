"""What many ask a server for at the same time is made once.

Measured as processor time of the server: many who ask for the same, beside as many of whom each
asks for something of his own. Both do the same but for what can be shared, on the same machine.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import pytest
from support import wire
from support.process import ServerProcess
from support.wire import RawPeer

ASKERS = 400
KEYS = 2000
# Without sharing, both cost the same.
SHARE_MAX = 0.8
NO_TIMEOUT = 0xFFFFFFFF
CHECK, WAIT, MULTI_GET, EXCHANGE, PING = 7, 8, 13, 25, 2

Lists = list[list[bytes]]


class Server:
    """A server, a native client of it, and the server's processor time."""

    def __init__(self, process: ServerProcess) -> None:
        self._clock = (~process.pid << 3) | 2  # see clock_getcpuclockid(3)
        self.port = process.port
        self.peer = RawPeer(process.port, wire.native_hello())
        self.peer.receive_frame()

    def cpu_s(self) -> float:
        return time.clock_gettime(self._clock)

    def call(self, operation: int, body: bytes) -> bytes:
        self.peer.send(wire.native_frame(operation, body))
        return self.peer.receive_frame()[3]

    def set_all(self, keys: list[bytes]) -> None:
        pairs = b"".join(wire.native_string(key) + wire.native_string(b"v") for key in keys)
        self.call(wire.NATIVE_MULTI_SET, struct.pack("<I", len(keys)) + pairs)

    def write_elsewhere(self) -> None:
        self.call(wire.NATIVE_SET, wire.native_string(b"/elsewhere") + wire.native_string(b"v"))


@pytest.fixture
def server() -> Iterator[Server]:
    with ServerProcess() as process:
        made = Server(process)
        yield made
        made.peer.close()


def keys_of(name: str) -> list[bytes]:
    return [f"/{name}/{i}".encode() for i in range(KEYS)]


def same(name: str) -> Lists:
    return [keys_of(name)] * ASKERS


def each_its_own(name: str) -> Lists:
    """Lists of the same keys, but for the last one, which belongs to nobody else."""
    keys = keys_of(name)
    return [[*keys[:-1], f"/{name}/own/{i}".encode()] for i in range(ASKERS)]


def body(keys: list[bytes], timeout_ms: int | None = None) -> bytes:
    timeout = b"" if timeout_ms is None else struct.pack("<I", timeout_ms)
    return timeout + struct.pack("<I", len(keys)) + b"".join(map(wire.native_string, keys))


def check_all(server: Server, lists: Lists) -> None:
    """Everybody asks whether all are there, while others write other keys."""
    server.set_all(sorted({key for keys in lists for key in keys}))
    for keys in lists:
        server.write_elsewhere()
        assert server.call(CHECK, body(keys)) == b"\x01"


def check_all_c10d(server: Server, lists: Lists) -> None:
    """The same in the protocol of torch's clients."""
    server.set_all(sorted({key for keys in lists for key in keys}))
    torchs = RawPeer(server.port, wire.C10D_VALIDATE)
    for keys in lists:
        server.write_elsewhere()
        torchs.send(wire.c10d_list(wire.CHECK, *keys))
        assert torchs.receive(1) == b"\x00"
    torchs.close()


def time_out_all(server: Server, lists: Lists) -> None:
    """Everybody is told which keys never came, while others write other keys."""
    for keys in lists:
        server.write_elsewhere()
        assert b"2000 of 2000 keys were never set" in server.call(MULTI_GET, body(keys, 1))


def wait_all(server: Server, lists: Lists) -> None:
    """Everybody waits for keys that come one by one."""
    for request_id, keys in enumerate(lists, start=1):
        server.peer.send(wire.native_frame(WAIT, body(keys, NO_TIMEOUT), request_id))
    setter = RawPeer(server.port, wire.native_hello())
    setter.receive_frame()
    # What is of somebody's own is there first.
    common = keys_of("k")
    own = sorted({key for keys in lists for key in keys} - set(common))
    server.peer.send(wire.native_frame(PING, b"", ASKERS + 1))
    assert server.peer.receive_frame()[2] == ASKERS + 1
    for key in own + common:
        setter.send(
            wire.native_frame(wire.NATIVE_SET, wire.native_string(key) + wire.native_string(b"v"))
        )
        setter.receive_frame()
    answered = {server.peer.receive_frame()[2] for _ in lists}
    assert answered == set(range(1, ASKERS + 1))
    setter.close()


@pytest.mark.parametrize("ask", [check_all, check_all_c10d, time_out_all, wait_all])
def test_the_same_keys_cost_many_who_ask_less_than_keys_of_their_own(
    ask: Callable[[Server, Lists], None],
) -> None:
    """Looked up, and composed, once while none of them changes."""
    costs = []
    for lists in (same("k"), each_its_own("k")):
        with ServerProcess() as process:
            server = Server(process)
            begin = server.cpu_s()
            ask(server, lists)
            costs.append(server.cpu_s() - begin)
            server.peer.close()
    shared, apart = costs
    print(f"{ask.__name__}: {shared * 1e3:.0f} ms, apart {apart * 1e3:.0f} ms")
    assert shared < SHARE_MAX * apart


def time_out_exchanges(server: Server, names: list[bytes], ranks: int) -> float:
    """The server's time for exchanges of which the last rank never comes, in turn."""
    begin = server.cpu_s()
    frames = [
        wire.native_frame(
            EXCHANGE,
            struct.pack("<I", 500)
            + wire.native_string(name)
            + struct.pack("<qq", rank, ranks)
            + wire.native_string(b"v"),
            request_id=1 + rank * len(names) + i,
        )
        for rank in range(ranks - 1)
        for i, name in enumerate(names)
    ]
    server.peer.send(b"".join(frames))
    for _ in frames:
        _, status, _, text = server.peer.receive_frame()
        assert status != 0
        assert f"1 of {ranks} ranks have not arrived".encode() in text
    return server.cpu_s() - begin


def test_exchanges_that_time_out_together_cost_what_they_cost_apart(server: Server) -> None:
    """Whom two exchanges miss is not found out anew for every rank in turn."""
    one = time_out_exchanges(server, [b"/one"], 3000)
    two = time_out_exchanges(server, [b"/two/a", b"/two/b"], 1500)
    print(f"one of 3,000: {one * 1e3:.0f} ms, two of 1,500: {two * 1e3:.0f} ms")
    assert two < 5 * one
