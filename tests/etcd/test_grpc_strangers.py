"""What the gRPC client does with a server that is none of etcd: no HTTP/2, no end, no TLS."""

from __future__ import annotations

import socket
import ssl

import pytest
from support.background import Background
from support.grpc import WRITTEN, failure, is_ambiguous
from support.http2 import Request, StrictServer

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.transport.dial import tls_reason
from rendezvous.backends.etcd.transport.errors import (
    EtcdConnectionError,
)


def test_another_kind_of_server_is_told_at_once() -> None:
    """One of HTTP/2 that has no gRPC: nobody waits for it to become etcd."""

    def serve(request: Request) -> None:
        request.h2.send_headers(request.stream, [(":status", "404"), ("content-type", "text/html")])
        request.h2.send_data(request.stream, b"<html>", end_stream=True)

    with StrictServer(serve) as server:
        error = failure(server)
    assert "answered 404, not gRPC" in str(error)
    assert not is_ambiguous(error)


@pytest.mark.parametrize(
    ("greeting", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "use transport=gateway"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "protocol=https"),
        (b"\0\0\0", "not HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/2: b'SSH-2.0"),
        (b"", "closed the connection"),
    ],
)
def test_what_speaks_no_http2_is_told(greeting: bytes, text: str) -> None:
    """With what to do where that is known."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = Background(serve, listener)
        client = EtcdClient(f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(EtcdConnectionError, match=text):
            client.put(b"k", b"v", deadline=Deadline.after(60))
        serving.result()


def test_headers_without_end_are_no_answer() -> None:
    """They would fill the memory."""

    def serve(request: Request) -> None:
        for _ in range(20):
            request.h2.send_headers(request.stream, [(":status", "103")])
        request.answer(WRITTEN)

    with StrictServer(serve) as server:
        error = failure(server)
    assert "keeps sending headers" in str(error)


def test_a_server_without_http2_in_tls_is_told() -> None:
    """It ends the handshake by an alert that says so."""
    error = ssl.SSLError(1, "")
    error.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
    assert "use transport=gateway" in tls_reason(error)
