"""Peers that speak raw bytes to a server: both protocols, whole, in pieces, or broken."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import TypeVar

from support.background import BACKSTOP_S

C10D_VALIDATE = b"\x00" + struct.pack("<I", 0x3C85F7CE)
SET, COMPARE_SET, GET, ADD, CHECK, WAIT, NUM_KEYS = 1, 2, 3, 4, 5, 6, 7
DELETE_KEY, APPEND, MULTI_GET, MULTI_SET, CANCEL_WAIT, PING = 8, 9, 10, 11, 12, 13

NATIVE_SET, NATIVE_GET, NATIVE_MULTI_SET = 3, 4, 14

_Self = TypeVar("_Self", bound="RawPeer")


def string(data: bytes) -> bytes:
    """A byte string of the c10d protocol."""
    return struct.pack("<Q", len(data)) + data


def c10d(code: int, *strings: bytes) -> bytes:
    """A c10d request with a fixed number of strings."""
    return bytes([code]) + b"".join(map(string, strings))


def c10d_list(code: int, *strings: bytes, items: int | None = None) -> bytes:
    """A c10d request with a count; `items` differs from the number of strings for MULTI_SET."""
    count = len(strings) if items is None else items
    return bytes([code]) + struct.pack("<Q", count) + b"".join(map(string, strings))


def c10d_ping(nonce: int = 7) -> bytes:
    return bytes([PING]) + struct.pack("<I", nonce)


def native_string(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def native_frame(operation: int, body: bytes, request_id: int = 1) -> bytes:
    return struct.pack("<IBBHQ", len(body), operation, 0, 0, request_id) + body


def native_hello(version: int = 2) -> bytes:
    """The preamble and the first frame of a native client."""
    body = struct.pack("<I16s", 0, b"s" * 16) + native_string(b"") + native_string(b"test")
    return b"RDZV" + struct.pack("<HH", version, version) + native_frame(1, body)


class RawPeer:
    """A socket connected to a server; what it receives it must receive within the backstop."""

    def __init__(self, port: int, data: bytes = b"", receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(BACKSTOP_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self.send(data)

    @property
    def address(self) -> str:
        """This end, as the server sees it."""
        return "{}:{}".format(*self.socket.getsockname())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, f"the server closed the connection after {data!r}"
            data += part
        return data

    def receive_string(self) -> bytes:
        return self.receive(struct.unpack("<Q", self.receive(8))[0])

    def receive_frame(self) -> tuple[int, int, int, bytes]:
        """A native answer: operation, status, request id, body."""
        size, operation, status, _, request_id = struct.unpack("<IBBHQ", self.receive(16))
        return operation & 0x7F, status, request_id, self.receive(size)

    def synchronise(self) -> None:
        """Return when the server has handled all that was sent before (c10d)."""
        self.send(c10d_ping(0x01020304))
        assert self.receive(4) == b"\x04\x03\x02\x01"

    def wait_closed(self) -> bytes:
        """What still comes until the server closes the connection."""
        data = b""
        try:
            while part := self.socket.recv(65536):
                data += part
        except ConnectionResetError:
            pass
        return data

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
