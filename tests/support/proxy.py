"""A network that misbehaves: stands between clients and a server on the loopback.

One thread accepts, and each direction of each connection has a thread that passes bytes on. What
goes wrong is switched on and off by the test's thread.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, TypeVar

from support.background import BACKSTOP_S

_CHUNK_BYTES = 65536

_Self = TypeVar("_Self", bound="FaultProxy")


def _shut_down(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        sock.shutdown(how)


@dataclass
class _Pair:
    """A client's connection, the one to the server that belongs to it, and who passes on."""

    client: socket.socket
    server: socket.socket
    threads: list[threading.Thread] = field(default_factory=list)
    swallows: bool = False

    def end(self, reset: bool) -> None:
        for sock in (self.client, self.server):
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Ends a thread that reads it, which would keep it open; SHUT_RD sends no FIN.
            _shut_down(sock, socket.SHUT_RD if reset else socket.SHUT_RDWR)
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(1.0)  # one that is blocked in sending ends with the close
        self.client.close()
        self.server.close()


class FaultProxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target_port`.

    split_bytes: pass on at most so many bytes at once (0: all there is).
    delay_s: before anything is passed on.
    is_answer: whether these bytes of the server's are an answer, or begin with one; default: all
        are.
    """

    def __init__(
        self, target_port: int, is_answer: Callable[[bytes], bool] = lambda data: True
    ) -> None:
        self.target_port = target_port
        self._is_answer = is_answer
        self.split_bytes = 0
        self.delay_s = 0.0
        self.connections = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._cut_before_reply = False
        self._pieces_left: int | None = None
        self._fault: Literal["freeze", "cut", "kill"] = "freeze"
        self.struck = threading.Event()
        self._closing = False
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = self._start(self._accept)

    def freeze(self) -> None:
        """Hold back all bytes, in both directions; connections stay open."""
        self._flowing.clear()

    def freeze_after(self, pieces: int) -> None:
        """Freeze once so many pieces have been passed on, in either direction."""
        self.strike_after(pieces, "freeze")

    def strike_after(self, pieces: int, fault: Literal["freeze", "cut", "kill"]) -> None:
        """Once so many pieces have been passed on, in either direction; `struck` says when.

        cut: all connections end, and new ones are well; kill: nobody is there any more.
        """
        with self._lock:
            self._pieces_left = max(pieces, 1)
            self._fault = fault
            self.struck.clear()
        if pieces == 0:
            self._count_piece()

    def refuse(self) -> None:
        """As if the other side had died: connections end, and nobody listens."""
        with self._lock:
            self._closing = True
        _shut_down(self._listener)
        self._listener.close()
        self.cut(reset=True)

    def thaw(self) -> None:
        with self._lock:  # or a piece that is being counted freezes it again
            self._pieces_left = None
            self._flowing.set()

    def swallow(self) -> None:
        """Take what the connections carry, and pass nothing on, for ever; new ones are well.

        As a network does that has forgotten them: neither end is told.
        """
        with self._lock:
            for pair in self._pairs:
                pair.swallows = True

    def cut(self, *, reset: bool = False) -> None:
        """End all connections, at both ends."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.end(reset)

    def cut_before_next_reply(self) -> None:
        """Let the server get and do what it is asked, and cut when it answers."""
        self._cut_before_reply = True

    def close(self) -> None:
        self._closing = True
        self.thaw()
        _shut_down(self._listener)
        self._listener.close()
        # A connection that it has just accepted is cut as well.
        self._acceptor.join(BACKSTOP_S)
        self.cut()
        for thread in self._threads:
            thread.join(BACKSTOP_S)
            assert not thread.is_alive()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _count_piece(self) -> None:
        with self._lock:
            if self._pieces_left is None:
                return
            self._pieces_left -= 1
            if self._pieces_left > 0:
                return
            self._pieces_left, fault = None, self._fault
            if fault == "freeze":
                self.freeze()
        if fault == "cut":
            self.cut(reset=True)
        elif fault == "kill":
            self.refuse()
        self.struck.set()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._lock:
                if self._closing:
                    client.close()
                    server.close()
                    return
                self._pairs.append(pair)
                self.connections += 1
                pair.threads += [
                    self._start(self._pass_on, pair, client, server, False),
                    self._start(self._pass_on, pair, server, client, True),
                ]

    def _pass_on(
        self, pair: _Pair, source: socket.socket, sink: socket.socket, is_reply: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if is_reply and self._cut_before_reply and self._is_answer(data):
                    self._cut_before_reply = False
                    self.cut()
                    return
                if self.delay_s:
                    time.sleep(self.delay_s)
                step = self.split_bytes or len(data)
                for begin in range(0, len(data), step):
                    self._flowing.wait()
                    if pair.swallows:
                        break
                    sink.sendall(data[begin : begin + step])
                    self._count_piece()
            self._flowing.wait()
            with self._lock:
                if pair in self._pairs:  # one that is being reset sends no FIN
                    sink.shutdown(socket.SHUT_WR)
