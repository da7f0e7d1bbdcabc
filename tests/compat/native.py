"""A conversation over the native protocol, written down: what clients of one version say and get.

`record` plays `script` through a relay that keeps each frame. Of what it kept, `Replay` is a server
for clients of later versions; and each frame can be said to a later server.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from support.background import BACKSTOP_S

from rendezvous import Node, Server, TCPStore, _core

PREAMBLE_BYTES = 8
REPLY_BIT = 0x80
HELLO, CANCEL, MEMBERS, TIMELINE = 1, 15, 32, 39
_HEADER = struct.Struct("<IBBHQ")
_MASK = ".."


@dataclass(frozen=True)
class Frame:
    """One, in either direction."""

    operation: int
    status: int
    channel: int
    number: int
    body: bytes

    def packed(self) -> bytes:
        head = (len(self.body), self.operation, self.status, self.channel, self.number)
        return _HEADER.pack(*head) + self.body


@dataclass
class Exchange:
    """A request and its answer, in hexadecimal.

    Attributes:
        reply: `..` for each byte that was another one each time.
    """

    operation: int
    request: str
    status: int
    reply: str

    def is_met_by(self, frame: Frame) -> bool:
        """Whether this is the same answer. Texts may become better, and clocks go on."""
        if frame.status != self.status or frame.status != 0:
            return frame.status == self.status
        if self.operation == HELLO:
            return frame.body[:2].hex() == self.reply[:4]  # the version that both speak
        if len(self.reply) != 2 * len(frame.body):
            return False
        if self.operation in (MEMBERS, TIMELINE):
            return True
        pairs = zip(_bytes_of(self.reply), _bytes_of(frame.body.hex()), strict=True)
        return all(was in (_MASK, now) for was, now in pairs)

    def answer(self) -> bytes:
        return bytes.fromhex(self.reply.replace(_MASK, "01"))


@dataclass
class Connection:
    """What was said over one."""

    preamble: str = ""
    exchanges: list[Exchange] = field(default_factory=list)


def script(host: str, port: int) -> Iterator[tuple[str, object]]:
    """Each kind of call once or more, and what it returned, as text."""
    with TCPStore(host, port, timeout=BACKSTOP_S) as store:
        yield from _store_calls(store)
        yield from _run_calls(store)


def _store_calls(store: TCPStore) -> Iterator[tuple[str, object]]:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("ping", store.ping),
        ("set", lambda: store.set("k", "v")),
        ("get", lambda: store.get("k")),
        ("get, not there", lambda: _error(lambda: store.get("none", 0))),
        ("try_get", lambda: store.try_get("none")),
        ("add", lambda: store.add("n", 5)),
        ("add, no number", lambda: _error(lambda: store.add("k", 1))),
        ("append", lambda: store.append("k", "w")),
        ("compare_set", lambda: store.compare_set("k", "vw", "x")),
        ("compare_exchange", lambda: store.compare_exchange("k", "wrong", "y")),
        ("set_if_version", lambda: store.set_if_version("new", "1", 0)),
        ("set, for a time", lambda: store.set("brief", "v", ttl=3600)),
        ("check", lambda: store.check(["k", "none"])),
        ("wait", lambda: store.wait(["k"], 0)),
        ("multi_set", lambda: store.multi_set(["a/1", "a/2"], ["one", "two"])),
        ("multi_get", lambda: store.multi_get(["a/1", "a/2"])),
        ("list_keys", lambda: sorted(store.list_keys("a/"))),
        ("num_keys", store.num_keys),
        ("watch", lambda: store.watch("k", 0, BACKSTOP_S)[0]),
        ("queue_push", lambda: store.queue_push("q", "item")),
        ("queue_len", lambda: store.queue_len("q")),
        ("queue_pop", lambda: store.queue_pop("q", timeout=0)),
        ("barrier", lambda: store.barrier("b", 1, BACKSTOP_S)),
        ("exchange", lambda: store.exchange("e", 0, 1, "mine", BACKSTOP_S)),
        ("delete_key", lambda: store.delete_key("k")),
        ("delete_prefix", lambda: store.delete_prefix("a/")),
        (
            "value too long",
            lambda: _error(lambda: store.set("long", b"x" * (64 * 1024 * 1024 + 1))),
        ),
    ]
    for label, call in calls:
        yield label, call()


def _run_calls(store: TCPStore) -> Iterator[tuple[str, object]]:
    rules = _core.GroupSettings(1, 1, 3600.0, 3600.0, 3)
    run = _core.RunClient(store, "run", Node("host1", 1, 0), rules, 3600.0)
    try:
        yield "status, unknown", run.status(BACKSTOP_S).known
        joined = run.join(0, BACKSTOP_S)
        yield "join", (joined.outcome, joined.round, joined.rank, joined.world_size, joined.first)
        yield "keep_alive", run.keep_alive(BACKSTOP_S).known
        status = run.status(BACKSTOP_S)
        yield "status", (status.round, status.complete, status.participants, status.settings)
        yield "members", [node for _, node, _ in run.members("participants", BACKSTOP_S)]
        yield "subscribe", run.subscribe(1, 0, False, 0).active
        yield "follow", run.follow(2**64 - 1, BACKSTOP_S)[1].participants
        yield "hosts", run.hosts(["192.0.2.7"], BACKSTOP_S)
        yield "timeline", run.timeline("run", 0, BACKSTOP_S)[0]
        yield "leave", run.leave(False, BACKSTOP_S)
        run.close_run(BACKSTOP_S, "done")
        yield "close_run", None
        yield "join, closed", _error(lambda: run.join(0, BACKSTOP_S))
    finally:
        run.close()


def _error(call: Callable[[], object]) -> str:
    """Its kind: texts may become better."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "no error"


def record(times: int = 3) -> dict[str, Any]:
    """As JSON has it. What differs between several servers is no part of it."""
    heard, results = [], []
    for _ in range(times):
        with Server() as server, Relay(server.port) as relay:
            results.append(
                [[label, repr(value)] for label, value in script("127.0.0.1", relay.port)]
            )
            heard.append(relay.connections)
    assert all(one == other for one, other in pairwise(results)), "the script is not the same twice"
    return {
        "results": results[0],
        "connections": [
            {
                "preamble": said[0].preamble,
                "exchanges": [
                    vars(_steady(list(each)))
                    for each in zip(*(one.exchanges for one in said), strict=True)
                ],
            }
            for said in zip(*heard, strict=True)
        ],
    }


def load(recorded: dict[str, Any]) -> list[Connection]:
    return [
        Connection(each["preamble"], [Exchange(**one) for one in each["exchanges"]])
        for each in recorded["connections"]
    ]


def _steady(same: list[Exchange]) -> Exchange:
    first = same[0]
    assert {(each.operation, each.status, len(each.reply)) for each in same} == {
        (first.operation, first.status, len(first.reply))
    }
    columns = zip(*(_bytes_of(each.reply) for each in same), strict=True)
    reply = "".join(column[0] if len(set(column)) == 1 else _MASK for column in columns)
    return Exchange(first.operation, first.request, first.status, reply)


def _bytes_of(text: str) -> list[str]:
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def receive(peer: socket.socket, count: int) -> bytes:
    """So many bytes; fewer: the peer has closed."""
    data = b""
    while len(data) < count and (part := peer.recv(count - len(data))):
        data += part
    return data


def receive_frame(peer: socket.socket) -> Frame | None:
    head = receive(peer, _HEADER.size)
    if len(head) < _HEADER.size:
        return None
    size, operation, status, channel, number = _HEADER.unpack(head)
    return Frame(operation, status, channel, number, receive(peer, size))


class Listening:
    """A server that has a thread for each connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stack = ExitStack()
        threading.Thread(target=self._accept_all, daemon=True).start()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._stack.close()

    def _accept_all(self) -> None:
        with suppress(OSError):
            while True:
                peer = self._stack.enter_context(self._listener.accept()[0])
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with suppress(OSError):
            self.talk(peer)

    def talk(self, peer: socket.socket) -> None:
        raise NotImplementedError


class Relay(Listening):
    """Hands on what a client and a server say, one request at a time, and keeps it."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.connections: list[Connection] = []
        super().__init__()

    def talk(self, peer: socket.socket) -> None:
        said = Connection()
        self.connections.append(said)
        with socket.create_connection(("127.0.0.1", self._server_port), BACKSTOP_S) as server:
            preamble = receive(peer, PREAMBLE_BYTES)
            said.preamble = preamble.hex()
            server.sendall(preamble)
            while (request := receive_frame(peer)) is not None:
                server.sendall(request.packed())
                if request.operation == CANCEL:
                    continue
                reply = receive_frame(server)
                assert reply is not None
                assert reply.operation == request.operation | REPLY_BIT
                said.exchanges.append(
                    Exchange(request.operation, request.body.hex(), reply.status, reply.body.hex())
                )
                peer.sendall(reply.packed())


class Replay(Listening):
    """Answers what was answered: of each operation, one after the other."""

    def __init__(self, connections: list[Connection]) -> None:
        self._left: dict[int, deque[Exchange]] = defaultdict(deque)
        for exchange in (each for said in connections for each in said.exchanges):
            self._left[exchange.operation].append(exchange)
        super().__init__()

    def talk(self, peer: socket.socket) -> None:
        receive(peer, PREAMBLE_BYTES)
        while (request := receive_frame(peer)) is not None:
            if request.operation == CANCEL:
                continue
            exchange = self._left[request.operation].popleft()
            reply = Frame(
                request.operation | REPLY_BIT,
                exchange.status,
                request.channel,
                request.number,
                exchange.answer(),
            )
            peer.sendall(reply.packed())
