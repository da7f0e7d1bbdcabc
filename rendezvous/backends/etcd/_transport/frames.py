"""Frames of HTTP/2: their numbers, their bytes, and how a member must begin. Pure.

Source: RFC 9113, sections 3.4, 4.1, 6 and 7.
"""

import struct
from enum import IntEnum

from rendezvous.backends.etcd._errors import TransportError

__all__ = [
    "ACK",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_BYTES_MAX",
    "HEAD",
    "INITIAL_WINDOW_SIZE",
    "MAX_FRAME_SIZE",
    "NUMBER",
    "PREFACE",
    "REFUSED_STREAM",
    "SETTING",
    "STREAM_MAX",
    "WINDOW_BYTES",
    "WINDOW_BYTES_MAX",
    "Type",
    "block_of",
    "frame",
    "has_greeted",
    "unpadded",
]


class Type(IntEnum):
    """Of frames. Others are skipped."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM = ACK = 0x1
END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20
_PRIORITY_BYTES = 5

_HEADER_TABLE_SIZE, _ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 4, 5
REFUSED_STREAM = 7

HEAD = struct.Struct(">BHBBI")  # length in three bytes, type, flags, stream
NUMBER = struct.Struct(">I")
SETTING = struct.Struct(">HI")

FRAME_BYTES_MAX = 16_384  # unless a setting allows more, and ours does not
WINDOW_BYTES = 65_535  # of a connection that has said nothing yet
WINDOW_BYTES_MAX = 2**31 - 1
STREAM_MAX = 2**31 - 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


# Windows as large as can be: what limits a member is how fast we read. No table: see hpack.py.
PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(
        Type.SETTINGS,
        0,
        0,
        SETTING.pack(_HEADER_TABLE_SIZE, 0)
        + SETTING.pack(_ENABLE_PUSH, 0)
        + SETTING.pack(INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX),
    )
    + frame(Type.WINDOW_UPDATE, 0, 0, NUMBER.pack(WINDOW_BYTES_MAX - WINDOW_BYTES))
)


def unpadded(flags: int, payload: bytes) -> bytes:
    """Raises IndexError for padding that is longer than all."""
    if not flags & _PADDED:
        return payload
    padding = payload[0]
    if padding >= len(payload):
        raise IndexError("it has more padding than bytes")
    return payload[1 : len(payload) - padding]


def block_of(flags: int, payload: bytes) -> bytes:
    """The piece of a header block in a HEADERS frame."""
    block = unpadded(flags, payload)
    return block[_PRIORITY_BYTES:] if flags & _PRIORITY else block


def has_greeted(received: bytes | bytearray, ended: bool = False) -> bool:
    """Whether this is how a member begins: with its settings. False: it is too short to know.

    ended: nothing more comes. Raises TransportError for what speaks something else, which nothing
    that is sent can change.
    """
    if received.startswith(b"HTTP/"):
        raise TransportError(
            "it speaks HTTP/1.1, and no gRPC; say transport=gateway if that is etcd's JSON gateway",
            sent=False,
            fatal=True,
        )
    if received.startswith(b"\x15\x03"):  # a TLS alert
        raise TransportError(
            "it speaks TLS; say protocol=https, or write https:// before the endpoint",
            sent=False,
            fatal=True,
        )
    if len(received) >= HEAD.size:
        if received[3] == Type.SETTINGS and received[5:9] == b"\0\0\0\0":
            return True
    elif not ended:
        return False
    raise TransportError(
        f"it answered with no HTTP/2: {bytes(received[:40])!r}; is it etcd's port for clients?",
        sent=True,
    )
