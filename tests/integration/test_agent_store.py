"""Workers of a launcher that serves a store are its clients, as with torch's TCPStore."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import cli_in

from rendezvous import Server, StoreAddressInUseError, TCPStore

Connect = Callable[..., TCPStore]


@pytest.fixture
def agent(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A launcher's server, and the environment that it gives its workers."""
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    return server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_the_master_of_the_agents_port_is_a_client(
    agent: Server, connect: Connect, host: str, protocol: str
) -> None:
    """Under whatever name; it sees what others have in that store, and does not wait for them."""
    others = connect(agent.port)
    others.set("k", "v")
    master = connect(agent.port, host, is_master=True, world_size=2, protocol=protocol)
    assert master.port == agent.port
    assert master.get("k") == b"v"
    master.close()
    assert others.get("k") == b"v"


def test_several_masters_too(agent: Server, connect: Connect) -> None:
    """As frameworks of one program make stores of their own."""
    stores = [
        connect(agent.port, is_master=True, multi_tenant=multi_tenant)
        for multi_tenant in (True, False, True)
    ]
    stores[0].set("k", "v")
    assert [store.get("k") for store in stores] == [b"v"] * 3


def test_other_ports_are_the_masters_own(agent: Server, connect: Connect) -> None:
    """The launcher has nothing to do with them."""
    master = connect(0, is_master=True)
    assert master.port != agent.port
    assert connect(master.port).num_keys() == 0
    with Server() as taken, pytest.raises(StoreAddressInUseError):
        connect(taken.port, is_master=True)
    with socket.create_server(("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        owner = connect(port, is_master=True, master_listen_fd=mine.detach())
        assert connect(port).num_keys() == owner.num_keys() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TORCHELASTIC_USE_AGENT_STORE", "False"),
        ("TORCHELASTIC_USE_AGENT_STORE", None),
        ("MASTER_PORT", "1"),
        ("MASTER_PORT", None),
    ],
)
def test_without_a_launcher_that_says_so_the_port_is_taken(
    agent: Server,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str | None,
) -> None:
    """A master that cannot serve is no client by accident."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreAddressInUseError):
        connect(agent.port, is_master=True)


WORKER = """
import os, rendezvous
rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
store = rendezvous.TCPStore(
    os.environ["MASTER_ADDR"],
    int(os.environ["MASTER_PORT"]),
    world_size,
    is_master=rank == 0,
    timeout=60,
)
print(store.exchange("ranks", rank, world_size, str(rank), 60), flush=True)
store.barrier("end", world_size, 60)
"""


def test_under_exec_all_ranks_meet(tmp_path: Path) -> None:
    """The usual program, with its master, runs as it does without a launcher."""
    command = ("--run-id", "job", "--", sys.executable, "-c", WORKER)
    with Server() as server, cli_in(tmp_path) as cli:
        nodes = [cli.start_exec(f"127.0.0.1:{server.port}", "2", *command) for _ in range(2)]
        for node in nodes:
            assert node.end() == 0, node.stderr
            assert "[b'0', b'1']" in node.stdout
