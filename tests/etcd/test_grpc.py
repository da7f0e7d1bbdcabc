"""The gRPC transport and a server that is strict, and does what etcd does only when it ails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.grpc import WRITTEN, failure, is_ambiguous, put, succeed
from support.http2 import OK, ErrorCodes, Request, SettingCodes, StrictServer

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.transport import http2
from rendezvous.backends.etcd.transport.errors import (
    EtcdConnectionError,
    EtcdLimitError,
    EtcdRequestError,
)
from rendezvous.errors import StoreError

# (header, created): the answer to a watch; and an event of the key k with the value v.
CREATED = b"\x0a\x02\x18\x07\x18\x01"
EVENT = b"\x0a\x02\x18\x08\x5a\x0a\x12\x08\x0a\x01k\x18\x08\x2a\x01v"


def test_requests_are_those_of_grpc() -> None:
    """Each on the next stream of one connection, with what etcd looks for."""
    seen: list[Request] = []

    def serve(request: Request) -> None:
        seen.append(request)
        request.answer(WRITTEN)

    with StrictServer(serve) as server:
        client = EtcdClient(server.endpoint)
        assert [client.put(b"k", b"v") for _ in range(3)] == [7, 7, 7]
        client.close()
    assert [request.stream for request in seen] == [1, 3, 5]
    assert seen[0].body == b"\0\0\0\0\x06\x0a\x01k\x12\x01v"
    assert seen[0].headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/etcdserverpb.KV/Put",
        ":authority": server.endpoint,
        "te": "trailers",
        "content-type": "application/grpc",
        "hasleader": "true",
    }


def test_windows_are_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the connection and that of a stream: a member sends no byte more than they allow."""
    monkeypatch.setattr(http2, "_WINDOW_BYTES", 500_000)
    value = b"x" * 70_000
    widened: list[int] = []

    def serve(request: Request) -> None:
        # As many keys as were asked for, with values of 70,000 bytes.
        count = request.body.count(b"k")
        kv = b"\x12" + _varint(len(value) + 4) + b"\x2a" + _varint(len(value)) + value
        if count == 1:
            request.answer(kv)
            return

        def end() -> None:
            widened.append(request.stream)
            request.h2.send_headers(request.stream, [("grpc-status", "0")], end_stream=True)

        server.when_widened[request.stream] = end
        server.when_widened[0] = lambda: widened.append(0)
        request.begin(kv * count)

    with StrictServer(serve) as server:
        client = EtcdClient(server.endpoint)
        for count in (1, 5, 1, 1, 4, 1):
            found = client.range(b"k" * count, deadline=Deadline.after(60))
            assert [kv.value for kv in found.kvs] == [value] * count
        client.close()
        assert server.connections == 1
    assert widened == [0, 3, 0, 9]


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize("window_bytes", [0, 1, 999, 65_535])
def test_no_more_is_sent_than_the_member_allows(window_bytes: int) -> None:
    """And all of it once it allows more."""
    value = bytes(range(256)) * 1_000
    bodies: list[bytes] = []

    def serve(request: Request) -> None:
        bodies.append(request.body)
        request.answer(WRITTEN)

    def begun(request: Request) -> None:
        if window_bytes == 0:
            request.h2.increment_flow_control_window(100_000, request.stream)

    with StrictServer(serve, window_bytes=window_bytes, begun=begun) as server:
        if window_bytes == 1:
            value = value[:300]
        assert put(server, value) == 7
    assert bodies[0].endswith(value)


def test_a_request_that_is_refused_half_way_is_not_sent_on() -> None:
    """The answer is the refusal, and the connection is not used again."""

    def begun(request: Request) -> None:
        if request.connection == 1:
            request.answer(status=8, text="grpc: received message larger than max")

    with StrictServer(succeed, window_bytes=10, begun=begun) as server:
        client = EtcdClient(server.endpoint)
        with pytest.raises(EtcdLimitError, match="smaller"):
            client.put(b"k", b"x" * 100_000)
        assert client.put(b"k", b"v") == 7
        assert server.connections == 2
        client.close()


def test_statuses_are_errors_with_their_text() -> None:
    """However long it is, and whatever characters it has."""
    text = "%E2%98%83 " + "x" * 20_000

    with StrictServer(lambda request: request.answer(status=9, text=text)) as server:
        client = EtcdClient(server.endpoint)
        # A read, which is repeated where h2 needs long for its headers.
        with pytest.raises(EtcdRequestError, match="☃ xxx") as caught:
            client.range(b"k", deadline=Deadline.after(60))
        client.close()
    assert caught.value.code == 9


def test_pings_are_answered() -> None:
    """At the latest with the next request: who does not answer is taken for dead."""

    def serve(request: Request) -> None:
        request.h2.ping(b"12345678")
        request.answer(WRITTEN)

    with StrictServer(serve) as server:
        client = EtcdClient(server.endpoint)
        for _ in range(3):
            client.put(b"k", b"v")
        client.close()
        assert server.pongs >= 2


def test_what_a_member_has_not_looked_at_is_sent_again() -> None:
    """It says so as it goes, or refuses the request: nothing was done, and it may be repeated."""

    def serve(request: Request) -> None:
        if request.connection == 1:
            request.h2.close_connection(last_stream_id=0)
        elif request.connection == 2:
            request.h2.reset_stream(request.stream, ErrorCodes.REFUSED_STREAM)
        else:
            request.answer(WRITTEN)

    with StrictServer(serve) as server:
        assert put(server) == 7
        assert server.connections == 3


def test_a_member_that_goes_after_its_answer_is_asked_on_another_connection() -> None:
    """A write on the old one would have an unknown end."""

    def serve(request: Request) -> None:
        request.answer(WRITTEN)
        request.h2.close_connection(last_stream_id=request.stream)

    with StrictServer(serve) as server:
        client = EtcdClient(server.endpoint)
        assert [client.put(b"k", b"v") for _ in range(3)] == [7, 7, 7]
        client.close()
        assert server.connections == 3


def _answered(request: Request) -> None:
    request.answer(WRITTEN)
    request.go_away(request.stream)
    request.h2.ping(b"12345678")


def _announced(request: Request) -> None:
    """As etcd is shut down: that it will go, later that it goes, and all it has begun is done."""
    request.go_away(2**31 - 1)
    request.h2.ping(b"12345678")
    request.begin(WRITTEN)
    request.go_away(request.stream)
    request.h2.send_headers(request.stream, [("grpc-status", "0")], end_stream=True)


@pytest.mark.parametrize("serve", [_answered, _announced])
def test_a_member_that_goes_still_answers_what_it_has_begun(
    serve: Callable[[Request], None],
) -> None:
    """Whatever else it sends with that, all at once: the write is known to be done."""
    with StrictServer(serve) as server:
        client = EtcdClient(server.endpoint)
        assert [client.put(b"k", b"v") for _ in range(3)] == [7, 7, 7]
        client.close()
        assert server.connections == 3


def test_a_member_that_goes_takes_the_rest_of_what_has_begun() -> None:
    """A request that waits for room is sent to its end."""
    took: list[int] = []

    def serve(request: Request) -> None:
        took.append(len(request.body))
        request.answer(WRITTEN)

    with StrictServer(
        serve, window_bytes=1000, begun=lambda request: request.go_away(request.stream)
    ) as server:
        assert put(server, bytes(100_000)) == 7
        assert server.connections == 1
    assert took[0] > 100_000


NO_STREAMS: dict[SettingCodes | int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}


def _takes_no_more(request: Request) -> None:
    """The answer, and that no further request is taken; the ping says when that was heard."""
    request.answer(WRITTEN)
    request.h2.update_settings(NO_STREAMS)
    request.h2.ping(b"12345678")


def test_a_member_that_takes_no_requests_for_a_while_is_waited_for() -> None:
    """By its settings. The connection stays, and nothing is sent before it may be."""
    with StrictServer(_takes_no_more) as server:
        server.when_ponged = lambda talk: talk.update_settings(
            {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
        )
        client = EtcdClient(server.endpoint)
        assert [client.put(b"k", b"v", deadline=Deadline.after(60)) for _ in range(3)] == [7] * 3
        client.close()
        assert server.connections == 1


def test_a_member_that_takes_no_requests_is_told_at_the_deadline() -> None:
    """Nobody else knows why nothing is done there."""
    with StrictServer(_takes_no_more) as server:
        client = EtcdClient(server.endpoint)
        client.put(b"k", b"v", deadline=Deadline.after(60))
        with pytest.raises(StoreError, match="MAX_CONCURRENT_STREAMS is 0") as caught:
            client.put(b"k", b"v", deadline=Deadline.after(0.2))
        assert not is_ambiguous(caught.value)
        client.close()


def _reset(request: Request) -> None:
    request.h2.reset_stream(request.stream, ErrorCodes.INTERNAL_ERROR)


def _no_status(request: Request) -> None:
    request.h2.send_headers(request.stream, OK, end_stream=True)


def _compressed(request: Request) -> None:
    request.h2.send_headers(request.stream, OK)
    request.h2.send_data(request.stream, b"\1\0\0\0\1x")
    request.h2.send_headers(request.stream, [("grpc-status", "0")], end_stream=True)


def _not_a_message(request: Request) -> None:
    request.answer(b"\x0a\x7f")


def _no_message(request: Request) -> None:
    request.answer()


def _unavailable(request: Request) -> None:
    request.h2.send_headers(request.stream, [(":status", "503")], end_stream=True)


def _broken(request: Request) -> None:
    request.h2.send_headers(request.stream, [(":status", "500"), ("content-type", "text/html")])
    request.h2.send_data(request.stream, b"<html>", end_stream=True)


@pytest.mark.parametrize(
    ("serve", "text"),
    [
        (_reset, "HTTP/2 error 2"),
        (_no_status, "without a gRPC status"),
        (_compressed, "compressed"),
        (_not_a_message, "malformed"),
        (_no_message, "without a message"),
        (_unavailable, "answered 503"),
        (_broken, "answered 500, not gRPC"),
    ],
)
def test_an_answer_that_is_none_leaves_the_end_open(
    serve: Callable[[Request], None], text: str
) -> None:
    """The write may have been done: the error says so, and it is not repeated."""
    with StrictServer(serve) as server:
        error = failure(server)
        assert server.connections == 1
    assert isinstance(error, EtcdConnectionError)
    assert text in str(error)
    assert is_ambiguous(error)


def test_a_watch_reads_messages_as_they_come() -> None:
    """Several in one frame, one in several; its end is an error, and it goes on elsewhere."""

    def begun(request: Request) -> None:
        request.h2.send_headers(request.stream, OK)
        framed = b"".join(
            b"\0" + len(message).to_bytes(4, "big") + message for message in (CREATED, EVENT, EVENT)
        )
        for piece in (framed[:3], framed[3:20], framed[20:]):
            request.h2.send_data(request.stream, piece)
        request.h2.send_headers(
            request.stream,
            [("grpc-status", "14"), ("grpc-message", "etcdserver: no leader")],
            end_stream=True,
        )

    with StrictServer(succeed, begun=begun) as server:
        client = EtcdClient(server.endpoint)
        with client.watch([(b"k", b"")], 5) as watch:
            seen = [watch.next(Deadline.after(60))[0].kv.value for _ in range(4)]
        client.close()
        assert seen == [b"v"] * 4
        assert server.connections == 2
