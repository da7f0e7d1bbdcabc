"""The native protocol in plain Python, as short as it can be: the floor of what Cython is for.

GET alone; no deadlines, no cancelling, no reconnecting.
"""

from __future__ import annotations

import asyncio
import os
import struct
from typing import cast

_HEADER = struct.Struct("<IBBHQ")
_GET, _HELLO, _REPLY = 4, 1, 0x80
_LENGTH = struct.Struct("<I")


class PlainClient(asyncio.Protocol):
    """One connection, many requests in flight."""

    def __init__(self) -> None:
        self._in = b""
        self._id = 0
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._loop = asyncio.get_running_loop()
        self.greeted = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no asyncio.Transport, but has what one has.
        self._transport = cast("asyncio.Transport", transport)
        body = struct.pack("<I", 0) + os.urandom(16) + bytes(8)
        self._transport.write(b"RDZV" + struct.pack("<HH", 2, 2))
        self._transport.write(_HEADER.pack(len(body), _HELLO, 0, 0, 0) + body)

    def data_received(self, data: bytes) -> None:
        data = self._in + data if self._in else data
        at, end = 0, len(data)
        while end - at >= _HEADER.size:
            size, operation, _, _, number = _HEADER.unpack_from(data, at)
            if end - at < _HEADER.size + size:
                break
            if operation == _HELLO | _REPLY:
                self.greeted.set_result(None)
            else:
                # u64 version and u32 size come before the value.
                call = self._calls.pop(number)
                call.set_result(data[at + _HEADER.size + 12 : at + _HEADER.size + size])
            at += _HEADER.size + size
        self._in = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        for waiting in (self.greeted, *self._calls.values()):
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"the server closed the connection: {error}"))

    async def get(self, key: str) -> bytes:
        """The value of a key that is there."""
        wire_key = b"/" + key.encode()
        self._id += 1
        call = self._calls[self._id] = self._loop.create_future()
        body = struct.pack("<II", 60_000, len(wire_key)) + wire_key
        self._transport.write(_HEADER.pack(len(body), _GET, 0, 0, self._id) + body)
        value: bytes = await call
        return value

    def close(self) -> None:
        self._transport.close()


async def connect(port: int) -> PlainClient:
    """A connection that is greeted."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(PlainClient, "127.0.0.1", port)
    await client.greeted
    assert isinstance(client, PlainClient)
    return client
