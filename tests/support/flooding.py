"""How a flood is sent, and what another connection feels of it (floods.py has the kinds).

A flood prepares what it needs on its own connection, and is then one run of bytes. `size` is how
much of everything there is: keys, nodes, requests.
"""

from __future__ import annotations

import os
import signal
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from support import wire
from support.background import Background
from support.cpu_clock import CpuClock
from support.wire import RawPeer, native_frame

_END = native_frame(2, b"", 1 << 40)
_END_ANSWER = struct.pack("<IBBHQ", 0, 2 | 0x80, 0, 0, 1 << 40)
_C10D_END = wire.c10d_ping(0x0BADCAFE)
_C10D_END_ANSWER = struct.pack("<I", 0x0BADCAFE)

_NAMES: dict[str, Callable[[int], Flood]] = {}


@dataclass
class Flood:
    """`prepared` is answered before the flood begins; `prepare` does what goes by the answers.
    `closes`: the flood ends by hanging up.

    `among`: so many connections send it at once, after the first has prepared. `is_short`: it is
    sent while the server is stopped, so that the first PING lies right behind all of it.
    """

    prepared: list[bytes]
    sent: bytes
    is_c10d: bool = False
    closes: bool = False
    among: int = 1
    is_short: bool = False
    prepare: Callable[[RawPeer], None] | None = None

    @property
    def end(self) -> bytes:
        """A request that is answered when all before it are handled."""
        return _C10D_END if self.is_c10d else _END


def flood(make: Callable[[int], Flood]) -> Callable[[int], Flood]:
    _NAMES[make.__name__] = make
    return make


def names() -> list[str]:
    return list(_NAMES)


def begin(name: str, size: int, port: int) -> tuple[Flood, RawPeer]:
    """The flood, and its connection on which all is prepared."""
    made = _NAMES[name](size)
    peer = RawPeer(port, wire.C10D_VALIDATE if made.is_c10d else wire.native_hello())
    if not made.is_c10d:
        peer.receive_frame()
    sender = threading.Thread(target=peer.send, args=[b"".join(made.prepared) + made.end])
    sender.start()
    _read_to_end(made, peer)
    sender.join()
    if made.prepare is not None:
        made.prepare(peer)
    return made, peer


def _read_to_end(made: Flood, peer: RawPeer) -> None:
    wanted = _C10D_END_ANSWER if made.is_c10d else _END_ANSWER
    tail = b""
    while wanted not in tail:
        received = peer.socket.recv(1 << 20)
        assert received, "the server closed the connection"
        tail = tail[-len(wanted) :] + received


def run(made: Flood, peer: RawPeer) -> None:
    """Send the flood, reading all answers meanwhile, and return when it is handled."""
    if made.closes:
        peer.close()
        return
    sender = threading.Thread(target=peer.send, args=[made.sent + made.end])
    sender.start()
    _read_to_end(made, peer)
    sender.join()


def run_short(made: Flood, peer: RawPeer, pid: int, port: int, prober: Prober) -> None:
    """Stop the server, send the flood and a PING behind it, let it go on, and read all answers."""
    others = [RawPeer(port, wire.native_hello()) for _ in range(made.among - 1)]
    for other in others:
        other.receive_frame()
    os.kill(pid, signal.SIGSTOP)
    try:
        for each in [peer, *others]:
            if made.closes:
                each.close()
            else:
                each.send(made.sent + made.end)
        ping = prober.begin()
    finally:
        os.kill(pid, signal.SIGCONT)
    prober.end(ping)
    if not made.closes:
        readers = [Background(_read_to_end, made, each) for each in [peer, *others]]
        while any(reader.running for reader in readers):
            prober.ping()
        for reader in readers:
            reader.result()
    for other in others:
        other.close()


class Prober:
    """Pings a server, and remembers the most processor time that one answer took."""

    def __init__(self, pid: int, port: int) -> None:
        self._clock = CpuClock(pid)
        self._peer = RawPeer(port, wire.native_hello())
        self._peer.receive_frame()
        self.worst_s = 0.0
        self.count = 0

    def ping(self) -> None:
        self.end(self.begin())

    def begin(self) -> float:
        begun = self._clock()
        self._peer.send(wire.native_frame(2, b"", self.count + 1))
        return begun

    def end(self, begun: float) -> None:
        _, status, request, _ = self._peer.receive_frame()
        self.worst_s = max(self.worst_s, self._clock() - begun)
        self.count += 1
        assert (status, request) == (0, self.count)

    def close(self) -> None:
        self._peer.close()
        self._clock.close()


def measure(name: str, size: int, pid: int, port: int) -> tuple[float, int]:
    """Flood a server. The most processor time between a PING and its answer, and how many pings."""
    made, peer = begin(name, size, port)
    prober = Prober(pid, port)
    prober.ping()
    prober.worst_s = 0.0
    if made.is_short:
        run_short(made, peer, pid, port, prober)
        return _end(peer, prober)
    done = threading.Event()

    def attack() -> None:
        try:
            run(made, peer)
        finally:
            done.set()

    attacker = Background(attack)
    while not done.is_set():
        prober.ping()
    attacker.result()
    return _end(peer, prober)


def _end(peer: RawPeer, prober: Prober) -> tuple[float, int]:
    # What hangs up is handled after it has gone.
    for _ in range(20):
        prober.ping()
    peer.close()
    prober.close()
    return prober.worst_s, prober.count
