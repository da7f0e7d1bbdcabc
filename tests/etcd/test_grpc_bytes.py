"""What the gRPC transport makes of an answer's bytes: whole, followed by others, cut, changed."""

from __future__ import annotations

import random

import pytest
from support.grpc import WRITTEN
from support.http2 import Request

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport import http2
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import ReplyError, TransportError
from rendezvous.backends.etcd.transport.grpc import GrpcTransport

FUZZ_RUNS = 3_000


class _Played:
    """In the place of a socket: what a member sent, in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.is_quiet = True

    def send(self, data: bytes, deadline: Deadline) -> None:
        pass

    def receive_by(self, bytes_max: int, deadline: Deadline) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        pass


def recorded() -> bytes:
    """A whole answer as h2 sends it."""
    import h2.connection
    from h2.config import H2Configuration

    client = h2.connection.H2Connection(H2Configuration(client_side=True))
    server = h2.connection.H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    client.send_headers(
        1, [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")]
    )
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    server.ping(b"12345678")
    Request(1, 1, {}, b"", server).answer(WRITTEN)
    return server.data_to_send()


WRONG = b"\0\0\0\4\0\0\0\0\1"  # settings, of a stream


def test_an_answer_is_one_whatever_comes_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The member has done what was asked: only the connection is of no use any more."""
    transport = GrpcTransport()
    played = [recorded() + WRONG]
    monkeypatch.setattr(http2, "Line", lambda *_: _Played(played))
    endpoint = Endpoint("127.0.0.1", 1)
    answer = transport.call(endpoint, "kv/put", {"key": b"k"}, "", Deadline.after(60))
    assert answer["header"]["revision"] == 7
    played.append(recorded())
    again = transport.call(endpoint, "kv/put", {"key": b"k"}, "", Deadline.after(60))
    assert again == answer


def test_what_comes_before_the_end_of_an_answer_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong with it is told."""
    whole = recorded()
    played = [whole[: len(whole) - 20] + WRONG, whole]
    monkeypatch.setattr(http2, "Line", lambda *_: _Played(played))
    with pytest.raises(TransportError, match="malformed"):
        GrpcTransport().call(
            Endpoint("127.0.0.1", 1), "kv/put", {"key": b"k"}, "", Deadline.after(60)
        )


@pytest.mark.parametrize("seed", range(4))
def test_no_bytes_make_it_fail_otherwise_than_it_says(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Answers with bytes changed, lost and doubled: a message, or an error of a transport."""
    whole = recorded()
    chance = random.Random(seed)
    transport = GrpcTransport()
    endpoint = Endpoint("127.0.0.1", 1)
    played: list[bytes] = []
    monkeypatch.setattr(http2, "Line", lambda *_: _Played(played))
    outcomes = {"answer": 0, "error": 0}
    for number in range(FUZZ_RUNS):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4) if number else 0):
            position = chance.randrange(len(data))
            how = chance.randrange(4)
            if how == 0:
                data[position] = chance.randrange(256)
            elif how == 1:
                data[position] ^= 1 << chance.randrange(8)
            elif how == 2:
                del data[position : position + chance.randrange(1, 12)]
            else:
                data[position:position] = data[position : position + chance.randrange(1, 40)]
            data = data or bytearray(b"\0")
        cut = chance.randrange(len(data) + 1)
        played[:] = [piece for piece in (bytes(data[:cut]), bytes(data[cut:])) if piece]
        try:
            answer = transport.call(endpoint, "kv/put", {"key": b"k"}, "", Deadline.after(60))
        except (TransportError, ReplyError):
            outcomes["error"] += 1
        else:
            outcomes["answer"] += 1
            assert number or answer == {"header": {"revision": 7}}
        transport.close()
    assert outcomes["answer"] > 0
    assert outcomes["error"] > FUZZ_RUNS / 4
