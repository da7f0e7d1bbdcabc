"""`rendezvous exec` is told to end: at every stage, in every way of keeping a run, by both signals,
while the store answers and while it does not."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli import BACKSTOP_S, Cli, Running, wait_for
from support.etcd import NO_ETCD, Cluster, binaries, etcd_proxy
from support.proc import alive, children, threads, words
from support.proxy import FaultProxy

# What is promised is half a second. What a busy machine adds is no fault; what `exec` waited for
# without looking at signals were these timeouts, of a minute and more.
_AT_ONCE_S = 30.0
_CONF = "join_timeout=600,close_timeout=600,heartbeat_timeout=60,read_timeout=600"
_SIGNALS = [signal.SIGTERM, signal.SIGINT]


@dataclass
class Place:
    """A store that can be frozen."""

    cli: Cli
    proxy: FaultProxy
    words: tuple[str, ...]

    def start(self, nodes: str, *command: str) -> Running:
        endpoint = f"127.0.0.1:{self.proxy.port}"
        words = ("--run-id", "job", *self.words)
        return self.cli.start_exec(endpoint, nodes, *words, "--", *command)


@pytest.fixture(params=["server", "store", "etcd"])
def place(request: pytest.FixtureRequest, cli: Cli) -> Iterator[Place]:
    if request.param == "etcd":
        found = binaries()
        if not found:
            pytest.skip(NO_ETCD)
        words = ("--backend", "etcd", "--local-addr", "127.0.0.1", "--rdzv-conf", _CONF)
        with (
            Cluster(found[-1], 1) as cluster,
            etcd_proxy(int(cluster.endpoints.rpartition(":")[2])) as proxy,
        ):
            yield Place(cli, proxy, words)
        return
    _, endpoint = cli.serve()
    conf = f"{_CONF},is_host=0,rulebook={request.param}"
    with FaultProxy(int(endpoint.rpartition(":")[2])) as proxy:
        yield Place(cli, proxy, ("--rdzv-conf", conf))


def _is_gone_at_once(running: Running, signum: int) -> int:
    begin = time.monotonic()
    running.send(signum)
    code = running.end()
    assert time.monotonic() - begin < _AT_ONCE_S
    assert "Traceback" not in running.stderr
    assert code, running.stderr
    return code


@pytest.mark.parametrize("signum", _SIGNALS)
def test_while_the_store_is_opened(place: Place, signum: int) -> None:
    """It accepts, and says nothing."""
    place.proxy.freeze()
    running = place.start("2", "true")
    running.line("joining run")
    assert _is_gone_at_once(running, signum) == 128 + signum


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("signum", _SIGNALS)
def test_while_other_nodes_are_waited_for(place: Place, signum: int, frozen: bool) -> None:
    """The node is listed, or was when the store fell silent."""
    running = place.start("2", "true")
    # Where nobody tells that it is listed, the other node does, by going first.
    running.line("joining run")
    wait_for("a node that joins", lambda: _heartbeats(running.process.pid))
    if frozen:
        place.proxy.freeze()
    assert _is_gone_at_once(running, signum) == 128 + signum


def _heartbeats(pid: int) -> bool:
    """Whether the thread that keeps the node's place runs: it is there from the first join on."""
    return len(threads(pid)) >= 3


@pytest.mark.parametrize("signum", _SIGNALS)
def test_while_the_command_runs_and_the_store_is_frozen(place: Place, signum: int) -> None:
    """The command gets the signal, and exec is gone when the command is."""
    running = place.start("1", "sh", "-c", "echo ready; exec sleep 1000")
    running.line("ready", "stdout")
    place.proxy.freeze()
    assert _is_gone_at_once(running, signum) == 128 + signum


def test_while_a_change_is_asked_about(cli: Cli, tmp_path: Path) -> None:
    """The store falls silent when it has told that a node has come. The command has its time to
    save all the same."""
    _, endpoint = cli.serve()
    save = "trap 'sleep 0.2; touch saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with FaultProxy(int(endpoint.rpartition(":")[2])) as proxy:
        # No heartbeat is between the two: the next one is due after seconds.
        words = ("--run-id", "job", "--rdzv-conf", f"{_CONF},is_host=0,last_call_timeout=0.1")
        running = cli.start_exec(f"127.0.0.1:{proxy.port}", "1:2", *words, "--", "sh", "-c", save)
        running.line("ready", "stdout")
        proxy.freeze_after(1)
        cli.start_exec(endpoint, "1:2", *words, "--", "true")
        assert proxy.struck.wait(BACKSTOP_S)
        # It looks ten times a second, and asks for half a second. All is well at other times, too.
        time.sleep(0.2)
        running.send(signal.SIGTERM)
        running.end()
        assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("signum", _SIGNALS)
def test_while_it_leaves(place: Place, tmp_path: Path, signum: int) -> None:
    """The command has failed, and the store does not answer."""
    wait = "echo ready; while ! test -e fail; do sleep 0.05; done; exit 9"
    running = place.start("1", "sh", "-c", wait)
    running.line("ready", "stdout")
    place.proxy.freeze()
    (tmp_path / "fail").touch()
    command = wait_for("the command's end", lambda: _command_has_ended(running))
    assert command
    assert _is_gone_at_once(running, signum) in {9, 128 + signum}


def _command_has_ended(running: Running) -> bool:
    started = children(running.process.pid)
    return not any(words(pid)[:1] == ["sh"] for pid in started if alive(pid))


def test_what_ignores_sigterm_is_killed_with_all_that_it_started(cli: Cli, tmp_path: Path) -> None:
    """As torchrun's workers, each in a session of its own, when --grace is shorter than
    torchrun's."""
    pids = tmp_path / "pids"
    running = _nested(cli, tmp_path, "--grace", "0.3")
    wait_for("three processes", pids.exists)
    running.send(signal.SIGTERM)
    assert running.end() == 137
    wait_for("their end", lambda: not any(map(alive, _read(pids))))


def test_killing_exec_kills_what_has_a_session_of_its_own(cli: Cli, tmp_path: Path) -> None:
    """A child in a new session, and one whose parent has ended: nobody trains on as an orphan."""
    pids = tmp_path / "pids"
    running = _nested(cli, tmp_path)
    wait_for("three processes", pids.exists)
    running.send(signal.SIGKILL)
    wait_for("their end", lambda: not any(map(alive, _read(pids))))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_health_check_ends_with_exec(cli: Cli, tmp_path: Path, signum: int) -> None:
    """Also one that would take for ever, and what it has started; also if exec is killed."""
    check = "sleep 1000 & echo $$ $! > pids.part; mv pids.part pids; wait"
    node = cli.start("exec", "--standalone", "--health-check", check, "--", "true")
    pids = tmp_path / "pids"
    wait_for("the check", pids.exists)
    node.send(signum)
    assert node.end() == (128 + signum if signum == signal.SIGTERM else -signum)
    wait_for("the check ends", lambda: not any(map(alive, _read(pids))))


def _read(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


def _nested(cli: Cli, directory: Path, *words: str) -> Running:
    """A command that ignores SIGTERM, its child in a session of its own, and an orphan of that."""
    source = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "idle = [sys.executable, '-I', '-S', '-c',\n"
        "    'import signal; signal.signal(15, signal.SIG_IGN)\\nwhile True: signal.pause()']\n"
        "child = subprocess.Popen(idle, start_new_session=True)\n"
        "out = subprocess.run([sys.executable, '-I', '-S', '-c', 'import subprocess, sys\\n'\n"
        "    'idle = subprocess.Popen(sys.argv[1:], start_new_session=True,'\n"
        "    ' stdout=subprocess.DEVNULL)\\nprint(idle.pid)', *idle], stdout=-1).stdout\n"
        "open('pids.part', 'w').write(f'{os.getpid()} {child.pid} {int(out)}')\n"
        "os.rename('pids.part', 'pids')\n"
        "while True: time.sleep(1)\n"
    )
    command = ("--", sys.executable, "-I", "-S", "-c", source)
    return cli.start_exec("127.0.0.1:0", "1", *words, *command)
