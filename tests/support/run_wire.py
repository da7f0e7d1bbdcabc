"""Requests of the native protocol on runs, by hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from support.wire import RawPeer, native_frame, native_hello, native_string

PING, GET, JOIN, LEAVE, KEEP_ALIVE, CLOSE_RUN, STATUS, SUBSCRIBE, MEMBERS, RESUME = (
    2,
    4,
    *range(26, 34),
)
NO_TIMEOUT = 0xFFFFFFFF
# No given rank, no topology, no attempt.
FACTS = struct.pack("<IIQ", 0xFFFFFFFF, 0, 0)


@dataclass(frozen=True)
class Settings:
    min_nodes: int = 1
    max_nodes: int = 1
    last_call_ms: int = 30_000
    keep_alive_interval_ms: int = 3_600_000
    keep_alive_max_attempt: int = 3

    def packed(self) -> bytes:
        return struct.pack(
            "<IIQQIBBBQI",
            self.min_nodes,
            self.max_nodes,
            self.last_call_ms,
            self.keep_alive_interval_ms,
            self.keep_alive_max_attempt,
            *(0, 1, 1, 0, 1),  # ranks by address, sticky, former members first; no debounce
        )


def waiting_get(key_bytes: int) -> tuple[int, bytes]:
    """Operation and body of a GET that waits for ever, for a key of that size."""
    return GET, struct.pack("<I", NO_TIMEOUT) + native_string(b"/" + b"k" * key_bytes)


def node(addr: bytes) -> bytes:
    return native_string(addr) + struct.pack("<QQ", 1, 0)


def join(
    run: bytes,
    addr: bytes = b"n",
    settings: Settings = Settings(),
    *,
    grace_ms: int = 0,
    handle: int = 1,
    after_round: int = 0,
    timeout_ms: int = NO_TIMEOUT,
    is_spare: bool = False,
) -> bytes:
    return (
        struct.pack("<I", timeout_ms)
        + native_string(run)
        + node(addr)
        + settings.packed()
        + struct.pack("<QIIB", after_round, grace_ms, handle, is_spare)
        + FACTS
    )


def leave(run: bytes, addr: bytes = b"n") -> bytes:
    """As a node that is done."""
    return native_string(run) + node(addr) + struct.pack("<BBIQIB", 0, 0, 0, 0, 0, 0)


def close(run: bytes, reason: bytes = b"") -> bytes:
    return native_string(run) + native_string(reason) + b"\0"


def resume(
    run: bytes,
    addr: bytes,
    settings: Settings,
    place: tuple[int, int, int],
    *,
    grace_ms: int = 0,
    handle: int = 1,
) -> bytes:
    return (
        native_string(run)
        + node(addr)
        + settings.packed()
        + struct.pack("<QIIII", *place, grace_ms, handle)
        + FACTS
    )


def subscribe(run: bytes, addr: bytes = b"n") -> bytes:
    """One that nothing satisfies but a lost or waiting node."""
    return (
        struct.pack("<I", NO_TIMEOUT)
        + native_string(run)
        + node(addr)
        + struct.pack("<QIB", 1, 1, 0)
    )


class RunPeer(RawPeer):
    """A native client that has said HELLO, and whose requests have ids of their own."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        super().__init__(port, native_hello(), receive_buffer)
        self.receive_frame()
        self._id = 0

    def ask(self, operation: int, body: bytes = b"") -> int:
        """Send a request; its id."""
        self._id += 1
        self.send(native_frame(operation, body, self._id))
        return self._id

    def call(self, operation: int, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer, which has to be the next one that comes."""
        request_id = self.ask(operation, body)
        _, status, answered, answer = self.receive_frame()
        assert answered == request_id
        return status, answer

    def ping(self) -> None:
        assert self.call(PING) == (0, b"")

    def synchronise_native(self) -> None:
        """Return when all that was sent before was handled, whatever was answered to it."""
        last = self.ask(PING)
        while self.receive_frame()[2] != last:
            pass

    def knows(self, run: bytes) -> bool:
        """Whether the server keeps the run."""
        status, answer = self.call(STATUS, native_string(run) + node(b"?"))
        assert status == 0
        return answer[0] == 1
