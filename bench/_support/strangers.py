"""Who troubles a server without being let in; a process of its own.

    python strangers.py KIND PORT COUNT

slow: COUNT connections, of which each sends a byte of its greeting a second, and is dialled again
when the server has had enough. half_open: COUNT connections begin a handshake with the words of a
client that was let in, which were heard on the way, and never end it. noise: 16 connections at a
time send up to 4 kB of random bytes each, half of them as if they were TLS.

Prints a line when COUNT connections are made (noise: have been made), and goes on until its input
ends. They come from many addresses of loopback, so that no limit of one address ends it.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from _support.driver import raise_file_limit
from _support.servers import TOKEN

_TICKS_S = 0.01
_NOISE_AT_ONCE = 16


class Strangers:
    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._selector = selectors.DefaultSelector()
        self._random = random.Random(1)
        self._ended = threading.Event()
        self.dialled = 0
        threading.Thread(target=self._await_end, daemon=True).start()

    def _await_end(self) -> None:
        sys.stdin.read()
        self._ended.set()

    @property
    def is_ended(self) -> bool:
        return self._ended.is_set()

    def dial(self) -> socket.socket:
        """A connection, or one that will be."""
        number = self.dialled
        self.dialled += 1
        stranger = socket.socket()
        stranger.bind((f"127.1.{number // 250 % 250}.{number % 250 + 1}", 0))
        # The accept queue may be full for a moment.
        stranger.settimeout(30)
        stranger.connect(("127.0.0.1", self._port))
        stranger.setblocking(False)
        return stranger

    def watch(self, stranger: socket.socket) -> None:
        self._selector.register(stranger, selectors.EVENT_READ)

    def take_answers(self, wait_s: float) -> int:
        """Reads what there is; how many connections the server has closed."""
        gone = 0
        for key, _ in self._selector.select(wait_s):
            stranger = key.fileobj
            assert isinstance(stranger, socket.socket)
            try:
                answer = stranger.recv(65536)
            except OSError:
                answer = b""
            if not answer:
                self.leave(stranger)
                gone += 1
        return gone

    def leave(self, stranger: socket.socket) -> None:
        self._selector.unregister(stranger)
        stranger.close()

    def all(self) -> list[socket.socket]:
        found = [key.fileobj for key in self._selector.get_map().values()]
        return [each for each in found if isinstance(each, socket.socket)]

    def fill(self, first: bytes = b"") -> None:
        while len(self._selector.get_map()) < self._count and not self.is_ended:
            stranger = self.dial()
            say(stranger, first)
            self.watch(stranger)


def say(stranger: socket.socket, words: bytes) -> None:
    with suppress(OSError):  # It is closed, which is read later.
        stranger.send(words)


def slow(strangers: Strangers, _count: int) -> None:
    """A record of TLS that promises more than ever comes."""
    strangers.fill(b"\x16")
    tell_ready()
    while not strangers.is_ended:
        for part in in_turns(strangers.all(), round(1 / _TICKS_S)):
            for stranger in part:
                say(stranger, b"\x03")
            strangers.take_answers(0)
            time.sleep(_TICKS_S)
        strangers.fill(b"\x16")


def in_turns(each: list[socket.socket], turns: int) -> list[list[socket.socket]]:
    return [each[first::turns] for first in range(turns)]


def half_open(strangers: Strangers, _count: int) -> None:
    hello = overheard()
    strangers.fill(hello)
    tell_ready()
    while not strangers.is_ended:
        strangers.take_answers(_TICKS_S)
        strangers.fill(hello)


def overheard() -> bytes:
    """What a client that has the token says first."""
    import rendezvous

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def connect() -> None:
            with suppress(rendezvous.StoreError):
                rendezvous.TCPStore("127.0.0.1", port, timeout=1, token=TOKEN)

        threading.Thread(target=connect, daemon=True).start()
        client, _ = listener.accept()
        with client:
            return client.recv(65536)


def noise(strangers: Strangers, count: int) -> None:
    source = random.Random(2)
    told = False
    while not strangers.is_ended:
        for _ in range(_NOISE_AT_ONCE):
            stranger = strangers.dial()
            begin = b"\x16\x03\x01" if source.random() < 0.5 else b""
            say(stranger, begin + source.randbytes(source.randrange(1, 4096)))
            strangers.watch(stranger)
        strangers.take_answers(0)
        for stranger in strangers.all():
            strangers.leave(stranger)
        if strangers.dialled >= count and not told:
            told = True
            tell_ready()


def tell_ready() -> None:
    print("ready", flush=True)


KINDS: dict[str, Callable[[Strangers, int], None]] = {
    "slow": slow,
    "half_open": half_open,
    "noise": noise,
}


def main() -> None:
    raise_file_limit()
    kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    strangers = Strangers(port, count)
    KINDS[kind](strangers, count)
    # Thousands of sockets are closed by the system.
    os._exit(0)


if __name__ == "__main__":
    main()
