"""What those that wait learn of those that do not come: expected nodes, and nodes that are not fit.

Nodes have addresses of their own on this machine's loopback network.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from handler_support import RUN, EtcdRun, Run
from support.background import Background, eventually
from support.cli import Cli, Running
from support.wire import native_hello

import rendezvous
from rendezvous import RendezvousRules, RendezvousTimeoutError, RendezvousUnhealthyError, Server

EXPECTED = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]


@pytest.fixture(params=["server", "store", "etcd"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Where other processes find it, too."""
    run: Run
    if request.param == "etcd":
        run = EtcdRun(request.getfixturevalue("etcd_endpoint"))
    else:
        request.getfixturevalue("server")
        run = Run(request.getfixturevalue("connect"), request.param)
    yield run
    run.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line at each look."""
    monkeypatch.setattr("rendezvous._coordination.waiting._PROGRESS_S", 0.05)
    caplog.set_level(logging.INFO, "rendezvous")


def test_the_log_and_the_error_say_how_far_each_missing_node_got(
    request: pytest.FixtureRequest, run: Run, cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    """One never connected, one connected and did not join, one joined and was lost."""
    rules = RendezvousRules(expect=EXPECTED)
    with ExitStack() as stack:
        if run.rulebook == "server":
            port = request.getfixturevalue("server").port
            # It dials, says HELLO, and that is all.
            made = socket.create_connection(
                ("127.0.0.1", port), source_address=("127.0.0.2", 0), timeout=60
            )
            stack.enter_context(made).sendall(native_hello())
            assert made.recv(1)
        options: dict[str, Any] = {"keep_alive_max_attempt": 10, "rules": rules}
        options["local_addr"] = "127.0.0.1"
        first = run.node(4, join_s=600.0, **options)
        waiting = Background(lambda: _fails(first.next_rendezvous))
        eventually("the first node has joined", lambda: len(run.look().participants) == 1)
        lost = _process(request, run, cli, "127.0.0.3")
        eventually("it has joined", lambda: len(run.look().participants) == 2)
        lost.send(signal.SIGKILL)
        lost.end()
        got_to = {
            "127.0.0.2": "connected, and did not join",
            "127.0.0.3": "joined, and was lost",
            "127.0.0.4": "never connected",
        }
        said = [f"{name} ({how})" for name, how in got_to.items()]
        if run.rulebook != "server":
            # Nobody sees the connections of nodes.
            said = ["127.0.0.[2,4] (did not join)", "127.0.0.3 (joined, and was lost)"]
        eventually("the log says it", lambda: all(each in caplog.text for each in said))
        with pytest.raises(RendezvousTimeoutError) as caught:
            run.node(4, join_s=1.0, **options).next_rendezvous()
        first.cancel(60.0)
        waiting.result()
    assert all(each in str(caught.value) for each in said), caught.value
    assert caught.value.missing == list(got_to)


def _process(request: pytest.FixtureRequest, run: Run, cli: Cli, addr: str) -> Running:
    """A node of the run that is not of this process."""
    conf = "last_call_timeout=0.1,keep_alive_interval=0.1,keep_alive_max_attempt=10"
    words = ["--run-id", RUN, "--local-addr", addr]
    if isinstance(run, EtcdRun):
        words += ["--backend", "etcd", "--rdzv-conf", f"{conf},key_prefix={run.prefix}"]
        return cli.start_exec(run.endpoints, "4", *words, "--", "true")
    where = f"127.0.0.1:{request.getfixturevalue('server').port}"
    words += ["--rdzv-conf", f"{conf},rulebook={run.rulebook}"]
    return cli.start_exec(where, "4", *words, "--", "true")


def _fails(act: Callable[[], object]) -> None:
    with pytest.raises(rendezvous.RendezvousError):
        act()


def _unfit() -> str:
    return "the GPU has fallen off the bus"


def test_who_waits_learns_that_a_node_is_not_fit(
    cli: Cli, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """While it waits, in its log; and whoever looks, by `status`."""
    where = f"127.0.0.1:{server.port}"
    settings: dict[str, Any] = {"join_timeout": 60, "last_call_timeout": 1}

    def come() -> rendezvous.World:
        return rendezvous.join(where, 2, RUN, **settings)

    waiting = Background(come)
    with pytest.raises(RendezvousUnhealthyError):
        rendezvous.join(where, 2, RUN, local_addr="127.0.0.9", health_check=_unfit, **settings)
    said = "its health check says: the GPU has fallen off the bus"
    eventually(
        "the log says it",
        lambda: "a node does not take part: 127.0.0.9 (pid" in caplog.text and said in caplog.text,
    )
    status = cli.run("status", RUN, "--endpoint", where)
    assert "does not take part: 127.0.0.9 (pid" in status.stdout.decode()
    assert "the GPU has fallen off the bus" in status.stdout.decode().replace("\n", " ")
    # Somebody else comes in its place.
    with come() as second, waiting.result() as first:
        assert {first.size, second.size} == {2}


def test_a_health_check_may_end_the_run_for_all(server: Server) -> None:
    """Those that wait, and those that come."""
    where = f"127.0.0.1:{server.port}"

    def give_orders() -> None:
        raise RendezvousUnhealthyError(reason="wrong driver", do_not_restart=True)

    def come() -> rendezvous.World:
        return rendezvous.join(where, 2, RUN)

    waiting = Background(come)
    for check in (give_orders, "echo wrong driver; exit 93"):
        with pytest.raises(RendezvousUnhealthyError, match="wrong driver") as caught:
            rendezvous.join(where, 2, RUN, health_check=check)
        assert caught.value.do_not_restart
    with pytest.raises(rendezvous.RendezvousFailedError, match="wrong driver"):
        waiting.result()
    with pytest.raises(rendezvous.RendezvousFailedError, match=r"health check.*wrong driver"):
        come()


def test_status_shows_who_is_excluded_over_etcd(cli: Cli, etcd_endpoint: str) -> None:
    """The notes are in the run's own store there."""
    conf: dict[str, Any] = {"key_prefix": EtcdRun(etcd_endpoint).prefix, "local_addr": "127.0.0.1"}

    def come(**more: Any) -> rendezvous.World:
        return rendezvous.join(f"etcd://{etcd_endpoint}", 2, "excluded", **conf, **more)

    with pytest.raises(RendezvousUnhealthyError):
        come(health_check=_unfit)
    words = ("--backend", "etcd", "--rdzv-conf", f"key_prefix={conf['key_prefix']}")
    waiting = Background(come)

    def is_shown() -> bool:
        status = cli.run("status", "excluded", "--endpoint", etcd_endpoint, *words)
        return b"the GPU has fallen off the bus" in status.stdout.replace(b"\n", b" ")

    eventually("status shows it", is_shown)
    with come(), waiting.result():
        pass
