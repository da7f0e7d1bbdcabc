"""Handshakes that end half way: of very many, a server keeps nothing."""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.background import BACKSTOP_S, Background, eventually
from support.process import PythonProcess

from rendezvous import StoreError, TCPStore, _core

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)
if sys.platform != "linux":
    pytest.skip(
        "looks at a process by /proc, and comes from many addresses of loopback",
        allow_module_level=True,
    )

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
SERVER = """\
import sys
from rendezvous import Server
with Server("127.0.0.1", 0) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
WARM_UP = 1000
ABORTED = 10_000
# What an allocator may keep for itself, however little is in use. A session that were left would
# take 12 KiB: of all of them, 120 MiB.
GROWN_MAX = 4 * 1024 * 1024


@pytest.fixture
def server() -> Iterator[PythonProcess]:
    with PythonProcess(SERVER, RENDEZVOUS_TOKEN=TOKEN) as process:
        yield process


def hello_of(token: str) -> bytes:
    """What a client that has this token says first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def connect() -> None:
            with suppress(StoreError):
                TCPStore("127.0.0.1", port, timeout=BACKSTOP_S, token=token)

        connecting = Background(connect)
        accepted, _ = listener.accept()
        listener.close()
        with accepted:
            accepted.settimeout(BACKSTOP_S)
            hello = accepted.recv(65536)
            # So that the client gives up: this is no store.
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connecting.result()
    return hello


class Strangers:
    """They come from many addresses, so that none of them is slowed down for what another did."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._random = random.Random(5)
        self._right, self._wrong = hello_of(TOKEN), hello_of(OTHER)
        self._count = 0
        self._ways: list[Callable[[socket.socket], None]] = [
            self.wrong_token,
            self.half_a_hello,
            self.no_proof,
            self.reset,
            self.noise,
            self.nothing,
        ]

    def come(self, count: int) -> None:
        for _ in range(count):
            number = self._count
            self._count += 1
            with socket.socket() as one:
                one.bind((f"127.2.{number // 250 % 250}.{number % 250 + 1}", 0))
                one.settimeout(BACKSTOP_S)
                one.connect(("127.0.0.1", self._port))
                self._ways[number % len(self._ways)](one)

    def wrong_token(self, one: socket.socket) -> None:
        one.sendall(self._wrong)
        assert one.recv(1) == b"\x15"
        self.until_closed(one)

    def half_a_hello(self, one: socket.socket) -> None:
        one.sendall(self._right[: self._random.randrange(1, len(self._right))])

    def no_proof(self, one: socket.socket) -> None:
        one.sendall(self._right)
        assert one.recv(65536)

    def reset(self, one: socket.socket) -> None:
        one.sendall(self._right)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def noise(self, one: socket.socket) -> None:
        one.sendall(b"\x16" + self._random.randbytes(300))
        self.until_closed(one)

    def nothing(self, _one: socket.socket) -> None:
        pass

    @staticmethod
    def until_closed(one: socket.socket) -> None:
        with suppress(ConnectionResetError):
            while one.recv(65536):
                pass


def descriptors(process: PythonProcess) -> int:
    return sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())


def resident_bytes(process: PythonProcess) -> int:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_thousands_of_aborted_handshakes_leave_no_memory_and_no_descriptor(
    server: PythonProcess,
) -> None:
    """Wrong tokens, halves, resets and noise; a client with the token is served all the while."""
    port = int(server.line())
    store = TCPStore("127.0.0.1", port, timeout=BACKSTOP_S, token=TOKEN)
    store.set("key", "value")
    open_before = descriptors(server)
    strangers = Strangers(port)
    strangers.come(WARM_UP)
    eventually("the first are gone", lambda: descriptors(server) == open_before)
    before = resident_bytes(server)
    for _ in range(10):
        strangers.come(ABORTED // 10)
        assert store.get("key") == b"value"
    eventually("all are gone", lambda: descriptors(server) == open_before)
    assert resident_bytes(server) - before < GROWN_MAX
    TCPStore("127.0.0.1", port, timeout=BACKSTOP_S, token=TOKEN).set("key", "another")
    assert store.get("key") == b"another"
