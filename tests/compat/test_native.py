"""Clients and servers of other versions since 0.2.0: what they said and got then, they get now."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from compat.native import PREAMBLE_BYTES, Connection, Frame, Replay, load, receive_frame, script
from support.background import BACKSTOP_S

from rendezvous import Server

RECORDED = sorted(Path(__file__).parent.glob("*/native.json"))


def test_something_is_recorded() -> None:
    """For the version that promises it first, and on."""
    assert RECORDED


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_a_client_of_that_version_gets_its_answers_from_this_server(path: Path) -> None:
    """Byte for byte, but for what is another one each time."""
    with Server() as server:
        for said in load(json.loads(path.read_text())):
            _say(said, server.port)


def _say(said: Connection, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), BACKSTOP_S) as peer:
        preamble = bytes.fromhex(said.preamble)
        assert len(preamble) == PREAMBLE_BYTES
        peer.sendall(preamble)
        for number, exchange in enumerate(said.exchanges):
            request = Frame(exchange.operation, 0, 0, number + 1, bytes.fromhex(exchange.request))
            peer.sendall(request.packed())
            reply = receive_frame(peer)
            assert reply is not None, f"no answer to operation {exchange.operation}"
            assert reply.number == request.number
            assert exchange.is_met_by(reply), f"{exchange}\n{reply}"


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_this_client_understands_a_server_of_that_version(path: Path) -> None:
    """Each call returns what it returned then."""
    recorded = json.loads(path.read_text())
    with Replay(load(recorded)) as server:
        for (label, value), was in zip(
            script("127.0.0.1", server.port), recorded["results"], strict=True
        ):
            assert [label, repr(value)] == was
