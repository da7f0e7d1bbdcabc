"""Closed by default: every host of a store that others could reach wants a token, or the word."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.background import eventually
from support.certificates import Site
from support.cli import Cli

import rendezvous
from rendezvous import (
    RendezvousConnectionError,
    Server,
    StoreRefusedError,
    TCPStore,
    _core,
)
from rendezvous._base.hosts import serve_workers
from rendezvous._base.security import Security
from rendezvous.static import StaticRendezvousHandler

TOKEN = "0123456789abcdef0123456789abcdef"
WAYS_ON = ("  rendezvous token --save", "  export RENDEZVOUS_INSECURE=1")
OPEN = "everybody who can reach .* can read and change what is stored"


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a user has it who has said nothing."""
    monkeypatch.delenv("RENDEZVOUS_INSECURE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def has_ways_on(text: str) -> bool:
    return set(WAYS_ON) <= set(text.splitlines())


def by_server(port: int) -> None:
    Server("0.0.0.0", port).close()


def by_descriptor(port: int) -> None:
    bound = socket.socket()
    bound.bind(("0.0.0.0", port))
    Server(listen_fd=bound.detach()).close()


def by_master(port: int) -> None:
    TCPStore("0.0.0.0", port, is_master=True, wait_for_workers=False).close()


def by_join(port: int) -> None:
    rendezvous.join(f"0.0.0.0:{port}", run_id="run").close()


def by_static(port: int) -> None:
    handler = StaticRendezvousHandler("0.0.0.0", port, 0, 1, "run", 60, local_addr="127.0.0.1")
    try:
        handler.next_rendezvous()
    finally:
        handler.shutdown()


HOSTS = [by_server, by_descriptor, by_master, by_join, by_static]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_on_a_network_says_how_to_go_on(host: Callable[[int], None], free_port: int) -> None:
    """Nothing listens there, and the error has two lines to copy."""
    with pytest.raises((StoreRefusedError, RendezvousConnectionError)) as caught:
        host(free_port)
    assert has_ways_on(str(caught.value))
    with Server("127.0.0.1", free_port):
        pass


@pytest.mark.parametrize("host", HOSTS)
def test_the_word_is_enough_and_is_logged(
    host: Callable[[int], None],
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RENDEZVOUS_INSECURE=1: the host serves, with one warning."""
    monkeypatch.setenv("RENDEZVOUS_INSECURE", "1")
    host(free_port)

    def told() -> list[str]:
        found = "insecure: without a token"
        return [each.levelname for each in caplog.records if found in each.getMessage()]

    # Another thread carries the records of servers.
    eventually("the warning", lambda: told() == ["WARNING"])


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
@pytest.mark.parametrize("host", HOSTS)
def test_a_token_is_enough(
    host: Callable[[int], None], free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same hosts serve with one."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", TOKEN)
    host(free_port)


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
def test_certificates_are_enough(site: Site) -> None:
    """As a token is."""
    folder = site.folder
    Server("0.0.0.0", tls_cert=folder / "node.pem", tls_key=folder / "node.key").close()


def test_arguments_and_settings_say_the_word(free_port: int) -> None:
    """insecure=True in Python, insecure=1 in a configuration."""
    Server("0.0.0.0", free_port, insecure=True).close()
    TCPStore("0.0.0.0", free_port, is_master=True, insecure=True).close()
    rendezvous.join(f"0.0.0.0:{free_port}", run_id="run", insecure="1").close()


def test_loopback_needs_nothing(free_port: int) -> None:
    """One-machine jobs and tests."""
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        Server(host).close()
    with rendezvous.join(f"127.0.0.1:{free_port}", run_id="run") as world:
        assert world.size == 1


def test_a_port_that_is_taken_makes_a_client_all_the_same(free_port: int) -> None:
    """Who does not host needs no word: another process has it."""
    with (
        Server("127.0.0.1", free_port),
        rendezvous.join(f"localhost:{free_port}", run_id="run") as world,
    ):
        assert not world.handler.hosts_store


@pytest.mark.parametrize("how", ["serve", "exec"])
def test_commands_refuse_and_take_the_word(cli: Cli, how: str, free_port: int) -> None:
    """`serve` and `exec`: the lines, exit code 1, and --insecure."""
    command = ["serve", "--host", "0.0.0.0", "--port", str(free_port)]
    if how == "exec":
        command = ["exec", "--endpoint", f"0.0.0.0:{free_port}", "--nodes", "1"]
    ends = ["--", "true"] if how == "exec" else []
    refused = cli.run(*command, *ends, RENDEZVOUS_INSECURE="")
    assert refused.returncode == 1
    assert has_ways_on(refused.stderr.decode())
    taken = cli.start(*command, "--insecure", *ends, RENDEZVOUS_INSECURE="")
    taken.line("insecure: without a token")
    if how == "exec":
        assert taken.end() == 0


def test_exec_takes_the_word_from_its_settings(cli: Cli, free_port: int) -> None:
    """--rdzv-conf insecure=1, as torchrun has it."""
    endpoint = f"0.0.0.0:{free_port}"
    node = cli.start_exec(
        endpoint, "1", "--rdzv-conf", "insecure=1", "--", "true", RENDEZVOUS_INSECURE=""
    )
    assert node.end() == 0
    node.line("insecure: without a token")


def test_demo_needs_nothing(cli: Cli) -> None:
    """It stays on this machine."""
    assert cli.run("demo", "--nodes", "2", RENDEZVOUS_INSECURE="").returncode == 0


def test_a_token_on_a_command_line_is_refused(cli: Cli) -> None:
    """Other users see it there."""
    done = cli.run(
        "exec", "--endpoint", "localhost", "--nodes", "1", "--rdzv-conf", f"token={TOKEN}",
        "--", "true",
    )  # fmt: skip
    assert done.returncode == 2
    assert b"must not stand on a command line" in done.stderr
    assert TOKEN.encode() not in done.stderr


@pytest.fixture
def own_address() -> str:
    """Of this machine, on a network."""
    found = [each for each in _core.interface_addresses() if ":" not in each]
    if not (found := [each for each in found if not each.startswith("127.")]):
        pytest.skip("this machine has no address but loopback")
    return found[0]


def test_a_server_for_certain_addresses_is_closed_to_others(own_address: str) -> None:
    """A filter: loopback always, and who is allowed."""
    own = own_address
    with Server("0.0.0.0", token="", allow=[]) as server:
        TCPStore("127.0.0.1", server.port, timeout=60, token="").set("key", "value")
        with pytest.raises(rendezvous.StoreConnectionError):
            TCPStore(own, server.port, timeout=60, token="", protocol="c10d")
        server.allow([own])
        store = TCPStore(own, server.port, timeout=60, token="", protocol="c10d")
        assert store.get("key") == b"value"
        store.close()
    with Server() as server, pytest.raises(ValueError, match="made without allow"):
        server.allow([own])


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
def test_the_store_of_a_round_takes_proofs_and_torchs_workers_of_its_nodes(
    monkeypatch: pytest.MonkeyPatch, own_address: str
) -> None:
    """With a token: clients of ours from everywhere, torch's by their address."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", TOKEN)
    with serve_workers((own_address,), Security(), lambda: ["192.0.2.1"]) as server:
        where = (own_address, server.port)
        ours = TCPStore(*where, timeout=60)
        ours.set("key", "value")
        with pytest.raises(StoreRefusedError, match="it wants a token"):
            TCPStore(*where, timeout=60, token="")
        # This machine is always one of the nodes.
        assert TCPStore(*where, timeout=60, protocol="c10d").get("key") == b"value"
        server.allow(["192.0.2.1"])
        with pytest.raises(rendezvous.StoreConnectionError):
            TCPStore(*where, timeout=60, protocol="c10d")
        assert ours.clone().get("key") == b"value"


def test_rank_0_serves_no_open_store(own_address: str) -> None:
    """The store of a round is closed by default like any other."""
    with pytest.raises(StoreRefusedError):
        serve_workers((own_address,), Security(), list)
    serve_workers((own_address,), Security(insecure=True), list).close()
    serve_workers(("127.0.0.1",), Security(), list).close()


def test_a_job_at_an_open_server_has_to_say_the_word_itself(own_address: str) -> None:
    """Rank 0 serves the store of the round, whoever serves the run's; or leaves that to torch."""
    with Server(own_address, insecure=True) as server:
        where = f"{own_address}:{server.port}"
        with pytest.raises(RendezvousConnectionError, match="this node is rank 0") as caught:
            rendezvous.join(where, run_id="run")
        assert has_ways_on(str(caught.value))
        rendezvous.join(where, run_id="run", bootstrap_store=False).close()
        rendezvous.join(where, run_id="run", insecure=True).close()
