"""A server with a monitor, nodes that join its runs, and requests over HTTP."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rendezvous import Node, Server, StoreError, TCPStore, _core
from rendezvous.monitor import Monitor
from support.cli import BACKSTOP_S, wait_for

FOREVER_S = 3600.0


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fetch(
    url: str,
    path: str = "/",
    *,
    method: str = "GET",
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Reply:
    """One request; `_` in names of headers is `-`."""
    connection = connect(url, context)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def connect(url: str, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=BACKSTOP_S, context=context
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=BACKSTOP_S)


class Stream:
    """Server-sent events, as a browser has them."""

    def __init__(self, url: str, **headers: str) -> None:
        self._connection = connect(url)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", "/events", headers=named)
        self.answer = self._connection.getresponse()

    def messages(self) -> Iterator[tuple[str, str, Any]]:
        """Kind, id and data of each."""
        fields: dict[str, str] = {}
        for line in self.answer:
            name, colon, value = line.decode().rstrip("\n").partition(": ")
            if colon:
                fields[name] = value
            elif "data" in fields:
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}

    def until(self, kind: str, name: str) -> tuple[str, dict[str, Any]]:
        """The id of the message that has such an event about the node, and the event."""
        for _, number, data in self.messages():
            for run in data["events"]:
                for event in run["events"]:
                    if event["kind"] == kind and (event["node"] or {}).get("addr") == name:
                        return number, event
        raise AssertionError(f"the stream ended without {kind} of {name}")

    def close(self) -> None:
        self._connection.close()


class Jobs:
    """Nodes of runs at a server, each with a connection of its own and a thread that joins."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._nodes: dict[tuple[str, str], _core.RunClient] = {}
        self._threads: list[threading.Thread] = []

    def join(self, run: str, name: str, nodes: int, after_round: int = 0) -> None:
        """Returns when the server has the node."""
        key = (run, name)
        if key not in self._nodes:
            store = TCPStore("127.0.0.1", self._server.port, wait_for_workers=False)
            settings = _core.GroupSettings(nodes, nodes, keep_alive_interval=FOREVER_S)
            self._nodes[key] = _core.RunClient(store, run, Node(name, 1, 0), settings, 0)
        before = self._joined()
        thread = threading.Thread(target=self._join, args=(self._nodes[key], after_round))
        thread.start()
        self._threads.append(thread)
        wait_for(f"{name} joins", lambda: self._joined() > before)

    def _joined(self) -> int:
        return int(self._server.report(None)["counters"]["nodes_joined"])

    @staticmethod
    def _join(client: _core.RunClient, after_round: int) -> None:
        with suppress(StoreError):
            client.join(after_round, FOREVER_S)

    def lose(self, run: str, name: str) -> None:
        """Returns when the server knows."""
        lost = self._server.report(None)["counters"]["nodes_lost"]
        self._nodes.pop((run, name)).close()
        wait_for(
            f"{name} is lost",
            lambda: self._server.report(None)["counters"]["nodes_lost"] > lost,
        )

    def leave(self, run: str, name: str) -> None:
        """In good order: it is not lost."""
        client = self._nodes.pop((run, name))
        client.leave(False, BACKSTOP_S)
        client.close()

    def expect(self, run: str, names: str) -> None:
        """As `exec --expect` says it to all that look."""
        store = TCPStore("127.0.0.1", self._server.port, wait_for_workers=False)
        store.set(f"rendezvous.expected/{run}/names", names)
        store.close()

    def close(self) -> None:
        for client in self._nodes.values():
            client.close()
        for thread in self._threads:
            thread.join()


class Scene:
    """All of that."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        self.monitor = Monitor(self.server, "127.0.0.1:0", **options)
        self.jobs = Jobs(self.server)

    def get(self, path: str, **headers: Any) -> Reply:
        return fetch(self.monitor.url, path, **headers)

    def close(self) -> None:
        self.jobs.close()
        self.monitor.close()
        self.server.close()
