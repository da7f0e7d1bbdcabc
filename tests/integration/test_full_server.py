"""A server without room for another connection: what its clients do, and what they are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.background import BACKSTOP_S, Background
from support.run_wire import RunPeer

import rendezvous.aio
from rendezvous import Server, StoreConnectionError, TCPStore, _core
from rendezvous._core import GroupSettings, Node, RunClient

TOKEN = "0123456789abcdef0123456789abcdef"
SHORT_S = 5.0
FULL = "1 connections are open; the server's limit connections is 1"
NO_ROOM = "no room came within"

Open = Callable[[Server, float], object]


def _opens_store(server: Server, timeout_s: float) -> None:
    TCPStore("127.0.0.1", server.port, timeout=timeout_s).close()


def _opens_aio(server: Server, timeout_s: float) -> None:
    async def main() -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{server.port}", timeout_s):
            pass

    asyncio.run(main())


OPENS: dict[str, Open] = {"store": _opens_store, "aio": _opens_aio}


@contextmanager
def full_server(**options: str) -> Iterator[Server]:
    with Server(limits={"connections": 1}, **options) as server:  # type: ignore[arg-type]
        yield server


@pytest.mark.parametrize("kind", OPENS)
def test_who_finds_no_room_in_time_is_told_what_the_server_says(kind: str) -> None:
    """And tries with pauses: what is full is not made fuller."""
    with full_server() as server, RunPeer(server.port) as holder:
        with pytest.raises(StoreConnectionError, match=NO_ROOM) as caught:
            OPENS[kind](server, SHORT_S)
        assert FULL in str(caught.value)
        attempts = re.search(r"\((\d+) attempts\)", str(caught.value))
        assert attempts is not None
        # Pauses of 20 ms and more, each twice as long as the last, with jitter.
        assert 1 <= int(attempts[1]) <= 20
        holder.ping()


@pytest.mark.parametrize("kind", OPENS)
def test_who_waits_gets_the_room_that_another_leaves(kind: str) -> None:
    """It goes on trying until its timeout."""
    with full_server() as server:
        with RunPeer(server.port):
            waiting = Background(OPENS[kind], server, BACKSTOP_S).let_block()
        waiting.result()


def test_a_nodes_line_to_its_run_is_told_the_same() -> None:
    """It is a connection of its own, beside the store's."""
    with full_server() as server:
        store = TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S)
        rules = GroupSettings(1, 1, 3600.0, 3600.0, 3)
        run = RunClient(store, "run", Node("host", 1, 0), rules, grace=3600.0)
        with pytest.raises(StoreConnectionError, match=NO_ROOM) as caught:
            run.join(0, SHORT_S)
        assert FULL in str(caught.value)
        store.set("key", "value")


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
@pytest.mark.parametrize("kind", OPENS)
def test_tls_has_no_place_for_the_sentence_and_an_alert_says_so(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has said who it is, a client by TLS can be told no more; it goes on trying."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", TOKEN)
    with full_server() as server:
        holder = TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S)
        with pytest.raises(StoreConnectionError, match=NO_ROOM) as caught:
            OPENS[kind](server, SHORT_S)
        assert "the server has no room for another connection" in str(caught.value)
        waiting = Background(OPENS[kind], server, BACKSTOP_S).let_block()
        holder.close()
        waiting.result()
