"""Members that send without a pause, or too much: a deadline and the memory hold all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from support.grpc import succeed
from support.http2 import StrictServer

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport import http1, http2, line
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import TransportError
from rendezvous.backends.etcd.transport.gateway import GatewayTransport
from rendezvous.backends.etcd.transport.grpc import GrpcTransport

ENDPOINT = Endpoint("127.0.0.1", 1)
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
NOTHING = b"\0\0\0\xfa\0\0\0\0\0"  # a frame of a kind that nobody knows
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
READS_MAX = 2000


class _Endless:
    """In the place of a socket: there is always more to read."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._next = first
        self._again = again
        self.late = 0
        self.is_quiet = False

    def send(self, data: bytes, deadline: Deadline) -> None:
        pass

    def receive(self, bytes_max: int, deadline: Deadline) -> bytes:
        self.late += deadline.is_over
        if self.late > READS_MAX:
            return b""
        data, self._next = self._next, self._again
        return data

    receive_by = receive

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("transport", "module", "first", "again"),
    [
        (GrpcTransport, http2, SETTINGS, NOTHING),
        (GatewayTransport, http1, HEAD, b"1\r\n \r\n"),
    ],
)
def test_a_call_ends_by_its_deadline_though_bytes_go_on_coming(
    monkeypatch: pytest.MonkeyPatch,
    transport: Callable[[], Any],
    module: Any,
    first: bytes,
    again: bytes,
) -> None:
    """They are no answer."""
    flood = _Endless(first, again)
    monkeypatch.setattr(module, "Line", lambda *_: flood)
    with pytest.raises(TransportError, match="in time"):
        transport().call(ENDPOINT, "kv/put", {"key": b"k"}, "", Deadline.after(0.02))
    assert flood.late <= 1


@pytest.mark.parametrize(
    ("transport", "module", "first", "again"),
    [
        (GrpcTransport, http2, SETTINGS, NOTHING),
        (GatewayTransport, http1, HEAD, b"1\r\n\n\r\n"),
        (GatewayTransport, http1, HEAD, b"\r\n"),
    ],
)
def test_a_watch_looks_up_by_its_deadline_though_bytes_go_on_coming(
    monkeypatch: pytest.MonkeyPatch,
    transport: Callable[[], Any],
    module: Any,
    first: bytes,
    again: bytes,
) -> None:
    """They say nothing."""
    flood = _Endless(first, again)
    monkeypatch.setattr(module, "Line", lambda *_: flood)
    stream = transport().stream(ENDPOINT, "watch", [], "", Deadline.after(60))
    assert stream.next(Deadline.after(0.02)) is None
    assert flood.late <= 2
    stream.close()


CPU_S_MAX = 3.0


class _Long(_Endless):
    """One line of so many bytes, in pieces, and no end."""

    def __init__(self, chunk: bytes, chunks: int) -> None:
        super().__init__(HEAD, chunk)
        self._left = chunks

    def receive(self, bytes_max: int, deadline: Deadline) -> bytes:
        if self._next is not self._again:
            return super().receive(bytes_max, deadline)
        self._left -= 1
        return self._again if self._left >= 0 else b""

    receive_by = receive


def test_a_long_line_is_not_copied_with_each_of_its_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a watch reads costs what it has bytes, not their square."""
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    monkeypatch.setattr(http1, "Line", lambda *_: _Long(chunk, 3_000))
    stream = GatewayTransport().stream(ENDPOINT, "watch", [], "", Deadline.after(60))
    begun_s = time.thread_time()
    with pytest.raises(TransportError, match="ended the connection"):
        stream.next(Deadline.after(600))
    assert time.thread_time() - begun_s < CPU_S_MAX
    stream.close()


def test_a_connection_that_never_pauses_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What nobody asked for is read for a while, and another connection made."""
    flood = _Endless(SETTINGS, NOTHING)
    monkeypatch.setattr(http2, "Line", lambda *_: flood)
    connection = http2.Connection(ENDPOINT, None, Deadline.after(60))
    assert not connection.is_usable
    assert flood.late < READS_MAX


def test_sending_ends_by_its_deadline_however_the_socket_takes_it() -> None:
    """TLS sends in pieces, each of which could have the whole time."""
    allowed: list[float] = []

    class Slow:
        def settimeout(self, seconds: float) -> None:
            allowed.append(seconds)

        def send(self, data: Any) -> int:
            while not deadline.is_over and len(allowed) > 2:
                pass
            if deadline.is_over:
                raise TimeoutError
            return 1

        def sendall(self, data: bytes) -> None:
            for _ in data:
                self.send(data)

        def close(self) -> None:
            pass

    sending = line.Line.__new__(line.Line)
    sending._sock = Slow()  # type: ignore[assignment]
    deadline = Deadline.after(0.05)
    with pytest.raises(TransportError, match="no answer to sending in time"):
        sending.send(b"12345678", deadline)
    assert allowed == sorted(allowed, reverse=True)
    assert len(set(allowed)) > 1


def test_a_connection_remembers_little_of_its_requests() -> None:
    """However many it has carried."""
    with StrictServer(succeed) as server:
        transport = GrpcTransport()
        endpoint = Endpoint("127.0.0.1", server.port)

        def put(times: int) -> None:
            for _ in range(times):
                transport.call(endpoint, "kv/put", {"key": b"k"}, "", Deadline.after(60))

        def kept() -> int:
            (connection,) = transport._connections._of_this_thread().values()
            h2 = connection._h2
            return len(h2.streams) + len(h2._closed_streams)

        put(500)
        before = kept()
        put(500)
        assert kept() == before
        assert server.connections == 1
        transport.close()
