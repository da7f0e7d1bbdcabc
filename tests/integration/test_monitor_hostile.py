"""A monitor and those who want to harm it, or have bad luck: requests that are none, pages of other
sites, floods, forked children, machines without IPv6."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.monitor import Scene, Stream, fetch

from rendezvous import StoreConnectionError
from rendezvous.monitor import Monitor, MonitorSecurity, feed
from rendezvous.monitor.http import Answer, HttpServer

SECRET = "0123456789abcdef0123456789abcdef"
# Of documentation: no machine has it.
NOT_HERE = (int(socket.AF_INET6), ("2001:db8::1", 0, 0, 0))
LOOPBACK = (int(socket.AF_INET), ("127.0.0.1", 0))


@pytest.fixture
def scene() -> Iterator[Scene]:
    with closing(Scene()) as scene:
        yield scene


def ask(scene: Scene, head: str) -> bytes:
    """The answer to just these bytes."""
    with socket.create_connection(("127.0.0.1", scene.monitor.port)) as client:
        client.sendall(head.replace("\n", "\r\n").encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET http://[/ HTTP/1.1\nHost: localhost\n\n", 400),
        (f"GET /status.json?{'a=1&' * 20} HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET /status.json HTTP/1.1\nHost: localhost\nHost: evil.example\n\n", 400),
        ("GET /status.json HTTP/1.1\nHost: [::1].evil.example\n\n", 421),
        (f"GET / HTTP/1.1\nHost: localhost\nCookie: {'a' * 40_000}\n\n", 431),
    ],
    ids=["no path", "many fields", "two hosts", "host behind an address", "large cookies"],
)
def test_a_request_that_cannot_be_served_is_the_clients_mistake(
    scene: Scene, caplog: pytest.LogCaptureFixture, head: str, status: int
) -> None:
    """It gets an answer, and no stack in the log, which strangers could fill."""
    with caplog.at_level(logging.INFO, logger="rendezvous.monitor"):
        assert ask(scene, head).startswith(b"HTTP/1.1 %d " % status)
    assert [each for each in caplog.records if each.name.startswith("rendezvous.monitor")] == []


@pytest.mark.parametrize("path", ["/events", "/status.json", "/metrics"])
def test_pages_of_other_sites_hold_no_places(scene: Scene, path: str) -> None:
    """They could not read an answer, but 32 streams of theirs would be all that there are."""
    for site in ("cross-site", "same-site"):
        reply = scene.get(path, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")
        assert reply.status == 403
    if path != "/events":
        for site, mode in (("cross-site", "navigate"), ("same-origin", "cors")):
            assert scene.get(path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode).status != 403


def test_streams_that_come_at_once_are_no_more_than_the_bound(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was told that there is room, before any of them took it."""
    monkeypatch.setattr(feed, "ONLOOKERS_MAX", 1)
    monkeypatch.setattr(feed.Feed, "has_room", True)
    with closing(Stream(scene.monitor.url)) as first:
        assert next(first.messages())[0] == "hello"
        with closing(Stream(scene.monitor.url)) as second:
            assert [kind for kind, _, _ in second.messages()] == ["trouble"]
        assert len(scene.monitor._feed._onlookers) == 1


def test_strangers_do_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"* reader {SECRET}\n")
    with closing(Scene(security=MonitorSecurity(token_file=path))) as scene:
        for _ in range(5):
            assert scene.get("/status.json", Authorization="Bearer wrong").status == 401
        assert 1 <= caplog.text.count("wrong token") < 5
        for trouble in (path.unlink, lambda: path.write_text("nonsense")):
            caplog.clear()
            trouble()
            for _ in range(5):
                assert scene.get("/status.json", Authorization=f"Bearer {SECRET}").status == 200
            assert caplog.text.count("stay as they were") == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"* reader \xff\xfe", "is not text in UTF-8"), (b"#" * 1_000_001, "more than 1000000 bytes")],
    ids=["bytes", "large"],
)
def test_a_token_file_that_cannot_be_read_is_named(
    scene: Scene, tmp_path: Path, data: bytes, why: str
) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=why) as caught:
        Monitor(scene.server, "127.0.0.1:0", security=MonitorSecurity(token_file=path))
    assert str(caught.value).startswith(str(path))


def test_a_token_file_may_begin_with_a_mark(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"* reader {SECRET}\n", encoding="utf-8-sig")
    security = MonitorSecurity(token_file=path)
    with Monitor(scene.server, "127.0.0.1:0", security=security) as monitor:
        reply = fetch(monitor.url, "/status.json", Authorization=f"Bearer {SECRET}")
        assert reply.status == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_that_closes_it_leaves_the_parents_alone(scene: Scene) -> None:
    """Neither its streams, nor what wakes its thread, which would never sleep again."""
    with closing(Stream(scene.monitor.url)) as stream:
        messages = stream.messages()
        next(messages)
        child = os.fork()
        if child == 0:
            scene.monitor.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(BlockingIOError):
            scene.monitor._http._waker.recv(1, socket.MSG_DONTWAIT)
        scene.jobs.join("train", "node1", 2)
        assert any(kind == "tick" and data["events"] for kind, _, data in messages)
    assert scene.get("/healthz").status == 200


@pytest.mark.parametrize("addresses", [[LOOPBACK, NOT_HERE], [NOT_HERE, LOOPBACK]])
def test_an_address_that_this_machine_does_not_have_is_left_out(addresses: list[object]) -> None:
    """As `localhost` has ::1 in a container without IPv6."""
    http = HttpServer("localhost:0", addresses, lambda _: Answer(b"ok"), None)  # type: ignore[arg-type]
    with closing(http):
        http.start()
        assert fetch(f"http://127.0.0.1:{http.port}/").text == "ok"


def test_where_there_is_no_address_at_all_another_port_is_no_help() -> None:
    with pytest.raises(StoreConnectionError, match=r"Cannot assign|not available") as caught:
        HttpServer("localhost:0", [NOT_HERE], lambda _: Answer(b""), None)
    assert "another port" not in str(caught.value)
