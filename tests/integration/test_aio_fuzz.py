"""The frame decoder, through asyncio's connection: whatever a peer sends, nothing breaks."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import Server, StoreError, _core
from rendezvous.aio import _native

HELLO_AND_SET = 2  # answers


async def spoken(port: int) -> bytes:
    """What a server says to a client that has greeted, set a key and read it: answers, whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    session = bytes(16)
    hello = bytes(4) + session + bytes(8)
    frames = b"RDZV\2\0\2\0" + frame(1, 0, hello)
    frames += frame(3, 1, string(b"/k") + string(b"value"))
    frames += frame(4, 2, bytes(4) + string(b"/k")) + frame(4, 3, bytes(4) + string(b"/no"))
    writer.write(frames)
    said = b""
    while len(answers(said)) < 4:
        said += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return said


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def frame(operation: int, number: int, body: bytes) -> bytes:
    return (
        len(body).to_bytes(4, "little") + bytes([operation, 0, 0, 0]) + number.to_bytes(8, "little")
    ) + body


def answers(data: bytes) -> list[bytes]:
    found = []
    while len(data) >= 16:
        size = 16 + int.from_bytes(data[:4], "little")
        if len(data) < size:
            break
        found.append(data[:size])
        data = data[size:]
    return found


class _Transport:
    """Takes everything, and says nothing."""

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(20))
def test_bytes_of_any_kind_break_a_connection_and_nothing_else(server: Server, seed: int) -> None:
    """A peer's answers, changed, cut and put together anew, in pieces of any size."""
    chance = random.Random(seed)

    async def main() -> None:
        hello, *more = answers(await spoken(server.port))
        loop = asyncio.get_running_loop()
        for _ in range(100):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            connection: Any = _native.Connection(
                loop,
                _native.ClientSession(bytes(16)),
                hello,
                ours.fileno(),
                _core._LentFd(ours.fileno()),
                lambda _: None,
            )
            connection.connection_made(_Transport())
            assert connection.is_open
            data = bytearray(b"".join(chance.choices(more, k=chance.randrange(1, 6))))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            data = data[: chance.randrange(len(data) + 1)] + chance.randbytes(chance.randrange(20))
            while data and connection.is_open:
                buffer = connection.get_buffer(-1)
                size = min(len(data), chance.randrange(1, 60))
                buffer[:size] = data[:size]
                connection.buffer_updated(size)
                del data[:size]
            connection.connection_lost(None)
            assert not connection.is_open
            assert connection.in_flight == 0
            ours.close()
            theirs.close()

    asyncio.run(main())


def test_answers_may_come_byte_by_byte(server: Server) -> None:
    """Each call gets its own, however the network cuts them."""

    async def main(port: int) -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{port}", 60) as store:
            await asyncio.gather(*(store.set(f"k{i}", str(i) * i) for i in range(50)))
            found = await asyncio.gather(*(store.get(f"k{i}") for i in range(50)))
            assert found == [str(i).encode() * i for i in range(50)]
            with pytest.raises(StoreError):
                await store.get("no", 0)

    with FaultProxy(server.port) as proxy:
        proxy.split_bytes = 1
        asyncio.run(main(proxy.port))
