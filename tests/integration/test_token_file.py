"""A token file that changes while a server and its clients use it."""

from __future__ import annotations

import os
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from support.background import BACKSTOP_S, Background
from support.cli import wait_for
from support.entry import gets_in

from rendezvous import Server, Store, TCPStore, _core
from rendezvous._base.deadline import Deadline

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)

OLD, NEW = "0" * 32, "1" * 32


def put(path: Path, text: str) -> None:
    """As editors and operators of clusters do: who reads sees the old or the new file."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def test_a_token_file_that_is_a_pipe_for_a_while_is_read_again(tmp_path: Path) -> None:
    """Nobody writes to it, and whoever opened it would wait for good."""
    path = tmp_path / "token"
    put(path, OLD)
    with Server(token=path) as server:
        assert gets_in(server.port, token=OLD)
        path.unlink()
        os.mkfifo(path)
        # It looks once a second at most; if it is late, this only tests less.
        deadline = Deadline.after(1.5)
        while not deadline.is_over:
            assert gets_in(server.port, token=OLD)
        put(path, NEW)
        wait_for("the other token", lambda: gets_in(server.port, token=NEW))
        assert is_refused(server.port, OLD)


def is_refused(port: int, token: str) -> bool:
    return not gets_in(port, token=token)


class Load:
    """Clients that find their token in a file: some come and go, some stay, some come again."""

    def __init__(self, port: int, path: Path) -> None:
        self._port = port
        self._path = path
        self._ended = threading.Event()
        calls = [*(self._come_and_go for _ in range(4)), self._stay, self._come_again]
        self._rounds = [0] * len(calls)
        self._clients = [Background(call, index) for index, call in enumerate(calls)]

    def _client(self) -> TCPStore:
        return TCPStore("127.0.0.1", self._port, timeout=BACKSTOP_S, token=self._path)

    def _work(self, index: int, store: Store) -> None:
        self._rounds[index] += 1
        assert store.add(f"rounds of {index}", 1) == self._rounds[index]

    def _come_and_go(self, index: int) -> None:
        while not self._ended.is_set():
            with self._client() as store:
                self._work(index, store)

    def _stay(self, index: int) -> None:
        with self._client() as store:
            while not self._ended.is_set():
                self._work(index, store)

    def _come_again(self, index: int) -> None:
        with self._client() as store:
            while not self._ended.is_set():
                with store.clone() as another:
                    self._work(index, another)

    def goes_on(self) -> None:
        """Returns when each client has begun and ended a round, or more."""
        before = list(self._rounds)

        def has_gone_on() -> bool:
            for client in self._clients:
                if not client.running:
                    client.result()  # what failed
            return all(now >= then + 2 for now, then in zip(self._rounds, before, strict=True))

        wait_for("each client's next rounds", has_gone_on)

    def end(self) -> None:
        self._ended.set()
        for client in self._clients:
            client.result()


def test_rotation_under_load_fails_no_request(tmp_path: Path) -> None:
    """Each in turn: the server takes the next token, clients use it, the server drops the old."""
    server_file, client_file = tmp_path / "server", tmp_path / "client"
    tokens = [f"{number:032d}" for number in range(4)]
    put(server_file, tokens[0])
    put(client_file, tokens[0])
    with Server(token=server_file) as server:
        load = Load(server.port, client_file)
        for old, new in pairwise(tokens):
            put(server_file, f"{old}\n{new}\n")
            wait_for("the next token", partial(gets_in, server.port, token=new))
            put(client_file, new)
            load.goes_on()
            put(server_file, new)
            wait_for("the end of the old token", partial(is_refused, server.port, old))
            load.goes_on()
        load.end()
