"""Where a run's store is not, not yet, not any more, or is something else."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.cli import Cli, free_port
from support.proxy import FaultProxy

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousTimeoutError,
    Server,
    get_rendezvous_handler,
)
from rendezvous.backends import connection as _open
from rendezvous.backends.c10d import open_backend
from rendezvous.handler.create import create_handler

# Nobody waits for these: who does is noticed by the backstop of what waits for it.
_LONG = "600"


@contextmanager
def _other_program(answer: bytes) -> Iterator[int]:
    """Listens on a port, and is no store."""
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peers.append(peer)
            peer.recv(4096)
            peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for peer in peers:
            peer.close()


def _handler(port: int, run_id: str = "run", **options: Any) -> DynamicRendezvousHandler:
    handler = get_rendezvous_handler(
        RendezvousParameters(
            "c10d", f"127.0.0.1:{port}", run_id, 1, 1, **{"is_host": "0", **options}
        )
    )
    assert isinstance(handler, DynamicRendezvousHandler)
    return handler


def test_nobody_listens_there_yet(cli: Cli) -> None:
    """The node says so, again and again, with what failed last, and joins once somebody does."""
    port = free_port()
    conf = ("--run-id", "job", "--rdzv-conf", "is_host=0")
    node = cli.start_exec(f"127.0.0.1:{port}", "1", *conf, "--", "true")
    line = node.line("no store answers at")
    assert f"127.0.0.1:{port}" in line
    assert "connection refused" in line
    assert "trying for another 59" in line
    server = cli.start("serve", "--port", str(port))
    server.line("listening on")
    assert node.end() == 0, node.stderr
    assert f"the store at 127.0.0.1:{port} answers" in node.stderr


def test_a_name_without_an_address(cli: Cli) -> None:
    """As while a pod's name is not published yet: that is told while there is time left."""
    node = cli.start_exec("no-such-host.invalid:29400", "1", "--", "true")
    assert "has no address" in node.line("no store answers at")


def test_a_server_that_is_frozen(cli: Cli) -> None:
    """It accepts, and does not answer."""
    _, endpoint = cli.serve()
    with FaultProxy(int(endpoint.rpartition(":")[2])) as proxy:
        proxy.freeze()
        conf = ("--run-id", "job", "--rdzv-conf", "is_host=0")
        node = cli.start_exec(f"127.0.0.1:{proxy.port}", "1", *conf, "--", "true")
        assert "did not answer" in node.line("no store answers at")
        proxy.thaw()
        assert node.end() == 0, node.stderr


def test_an_etcd_that_is_not_there(cli: Cli) -> None:
    """The same, over etcd."""
    words = ("--backend", "etcd", "--run-id", "job", "--local-addr", "127.0.0.1", "--", "true")
    node = cli.start_exec(f"127.0.0.1:{free_port()}", "1", *words)
    assert "refused" in node.line("joining continues as soon as the store answers")


@pytest.mark.parametrize("answer", [b"-ERR unknown command\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"])
def test_another_program_has_the_port(cli: Cli, answer: bytes) -> None:
    """No time heals that: the node ends at once, says what answered, and claims nothing else."""
    with _other_program(answer) as port:
        node = cli.start_exec(f"127.0.0.1:{port}", "1", "--", "true")
        assert node.end() == 1
    assert "another program has that port" in node.stderr
    assert f"in use by pid {os.getpid()}" in node.stderr
    assert "served already" not in node.stderr


def test_connecting_is_a_part_of_the_join_timeout(free_port: int) -> None:
    """Who has spent nearly all of it on connecting does not wait for others as long again."""
    params = RendezvousParameters(
        "c10d", f"127.0.0.1:{free_port}", "run", 2, 2, is_host="1", join_timeout=_LONG
    )
    backend, connection = open_backend(params)
    late = replace(connection, opening_s=float(_LONG))
    handler = create_handler(late.store, backend, params, late)
    with pytest.raises(RendezvousTimeoutError):
        Background(handler.next_rendezvous).result()
    handler.shutdown()


def test_a_store_command_says_at_once_that_nothing_listens(cli: Cli) -> None:
    """Unless it shall wait for a server that is about to start."""
    port = free_port()
    for words in (("get", "k"), ("set", "k", "v"), ("status",), ("status", "run")):
        done = cli.run(*words, "--timeout", _LONG, "--endpoint", f"127.0.0.1:{port}")
        assert done.returncode == 3
        assert b"nothing listens there" in done.stderr
    waiting = cli.start(
        "set", "k", "v", "--wait-for-server", "--timeout", _LONG, "--endpoint", f"127.0.0.1:{port}"
    )
    server = cli.start("serve", "--port", str(port))
    server.line("listening on")
    assert waiting.end() == 0


def test_an_empty_endpoint(cli: Cli) -> None:
    """An unset variable of a shell is a mistake, not this machine."""
    done = cli.run("exec", "--endpoint", "", "--nodes", "1:2", "--", "true")
    assert done.returncode == 2
    assert b"--endpoint is empty" in done.stderr


def test_an_endpoint_that_is_this_machine_alone(cli: Cli) -> None:
    """Two machines with it would make two runs: a job that may have two nodes is told, at the
    beginning and when nobody came."""
    conf = ("--rdzv-conf", "join_timeout=1")
    node = cli.start_exec(f"localhost:{free_port()}", "2", *conf, "--", "true")
    assert node.end() == 1
    assert node.stderr.count("means a different machine on each machine") == 1
    assert "by which each machine reaches only itself" in node.stderr
    alone = cli.start_exec(f"localhost:{free_port()}", "1", "--", "true")
    assert alone.end() == 0
    assert "different machine" not in alone.stderr


@pytest.mark.parametrize("rulebook", ["server", "store"])
@pytest.mark.parametrize("name", ["leave", "shutdown"])
def test_leaving_after_the_stores_host_has_gone(rulebook: str, name: str) -> None:
    """There is nobody to be told, and nothing to be waited for."""
    server = Server("127.0.0.1", 0)
    handler = _handler(server.port, rulebook=rulebook, close_timeout=_LONG)
    handler.next_rendezvous()
    server.close()
    leave: Callable[[], object] = getattr(handler, name)
    if name == "leave":
        with pytest.raises(RendezvousConnectionError):
            Background(leave).result()
        assert Background(handler.shutdown).result() is False
    else:
        assert Background(leave).result() is False


def test_the_next_rounds_store_knows_a_server_that_has_restarted() -> None:
    """What a new round's node writes first is not refused for what an old round has lost."""
    server = Server("127.0.0.1", 0)
    handler = _handler(server.port)
    handler.next_rendezvous().store.set("k", "v")
    server.close()
    with Server("127.0.0.1", server.port):
        info = handler.next_rendezvous()
        info.store.set("k", "w")
        assert info.store.get("k") == b"w"
        handler.shutdown()


def test_a_loopback_endpoint_is_advertised_by_its_own_name() -> None:
    """A name that resolves to ::1 first breaks no script that writes host:port."""
    with Server("localhost", 0) as server:
        handler = get_rendezvous_handler(
            RendezvousParameters("c10d", f"localhost:{server.port}", "run", 1, 1, is_host="0")
        )
        info = handler.next_rendezvous().bootstrap_store_info
        assert info.master_addr == "localhost"
        with socket.create_connection((info.master_addr, info.master_port), 60):
            pass
        handler.shutdown()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_every_interface_is_no_place_to_connect_to(host: str) -> None:
    """It means something to the node that hosts, and to no other one."""
    with pytest.raises(ValueError, match="means every interface"):
        get_rendezvous_handler(
            RendezvousParameters("c10d", f"{host}:29400", "run", 1, 1, is_host="0")
        )


def test_no_room_for_a_temporary_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error of ours, that says what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RendezvousConnectionError, match="TMPDIR"):
        get_rendezvous_handler(RendezvousParameters("c10d", "", "run", 1, 1, store_type="file"))


def test_who_finds_the_store_served_does_not_try_to_serve_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt would look for the port's holder among all processes of the machine."""
    tried: list[int] = []
    monkeypatch.setattr(_open, "serve_on", lambda _, port, **__: tried.append(port))
    parameters = RendezvousParameters("c10d", f"127.0.0.1:{server.port}", "run", 1, 1)
    connection = _open.open_store(parameters)
    assert (connection.server, tried) == (None, [])
    connection.close()
