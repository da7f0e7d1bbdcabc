"""An etcd of one's own: started, found, stopped, and never left behind."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.background import BACKSTOP_S, Background, eventually
from support.proc import alive, words
from support.process import PythonProcess

from rendezvous.backends.etcd import EtcdServer
from rendezvous.backends.etcd.server.binary import find_binary
from rendezvous.errors import StoreConnectionError, StoreTimeoutError

OWNER = """\
import sys
from rendezvous.backends.etcd import EtcdServer
server = EtcdServer(binary=sys.argv[1])
server.start()
print(server.pid, flush=True)
print(server._guard.pid, flush=True)
{then}
"""


@pytest.fixture
def server(binary: str) -> Iterator[EtcdServer]:
    server = EtcdServer(binary=binary)
    yield server
    server.stop()


def gone(pid: int) -> None:
    eventually(f"process {pid} has ended", lambda: not alive(pid))


def test_it_answers_once_started_and_ends_when_stopped(server: EtcdServer) -> None:
    """Its client works at once; its process and its directory are gone afterwards."""
    server.start()
    client = server.get_client()
    client.put(b"k", b"v")
    assert client.range(b"k").kvs[0].value == b"v"
    assert server.get_endpoint() == f"{server.get_host()}:{server.get_port()}"
    assert server.get_host() == "127.0.0.1"
    [folder] = [
        Path(word.partition("=")[2]) for word in words(server.pid) if word.startswith("--data-dir")
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(RuntimeError, match="is already running"):
        server.start()
    client.close()
    server.stop()
    gone(server.pid)
    assert not folder.exists()
    server.stop()


def test_data_in_a_directory_that_was_given_stay(binary: str, tmp_path: Path) -> None:
    """A server that is started on it again has them, on another port."""
    for expected in (None, b"v"):
        with EtcdServer(tmp_path / "data", binary=binary) as server:
            client = server.get_client()
            found = client.range(b"k").first
            assert (found and found.value) == expected
            client.put(b"k", b"v")
            client.close()
    assert (tmp_path / "data").exists()


def test_it_can_be_started_again(server: EtcdServer) -> None:
    """With nothing of before."""
    for _ in range(2):
        server.start()
        client = server.get_client()
        assert client.range(b"k").first is None
        client.put(b"k", b"v")
        client.close()
        server.stop()


@pytest.mark.parametrize("then", ["", "sys.stdin.read()", "raise SystemExit(3)"])
def test_it_ends_with_a_program_that_ends(binary: str, then: str) -> None:
    """At its end, by sys.exit, and by an exception from a signal."""
    with PythonProcess(OWNER.format(then=then), binary) as owner:
        pid, guard = int(owner.line()), int(owner.line())
        if "stdin" in then:
            owner.signal(signal.SIGINT)
        owner.end()
        gone(pid)
        gone(guard)


def test_it_ends_when_its_program_is_killed(binary: str) -> None:
    """By a signal that nobody can handle."""
    with PythonProcess(OWNER.format(then="sys.stdin.read()"), binary) as owner:
        pid, guard = int(owner.line()), int(owner.line())
        owner.kill()
        gone(pid)
        gone(guard)


def test_a_fork_of_its_program_does_not_keep_it_alive(binary: str) -> None:
    """Workers that were forked off hold the owner's pipes; and when they end, it stays."""
    then = """\
import os, signal
early = os.fork()
if early == 0:
    sys.exit(0)
os.waitpid(early, 0)
server.get_client().put(b"k", b"v")
pid = os.fork()
if pid == 0:
    signal.pause()
print(pid, flush=True)
sys.stdin.read()
"""
    with PythonProcess(OWNER.format(then=then), binary) as owner:
        pid, guard, worker = int(owner.line()), int(owner.line()), int(owner.line())
        try:
            os.kill(owner.pid, signal.SIGKILL)
            gone(pid)
            gone(guard)
            assert alive(worker)
        finally:
            os.kill(worker, signal.SIGKILL)


def test_settings_of_another_etcd_are_not_taken(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is configured for a cluster has them in its environment."""
    monkeypatch.setenv("ETCD_CLIENT_CERT_AUTH", "true")
    monkeypatch.setenv("ETCD_LISTEN_METRICS_URLS", "no url")
    server.start()


def test_it_outlives_the_thread_that_started_it(server: EtcdServer) -> None:
    """Which the kernel would take for the parent's death."""
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join(BACKSTOP_S)
    client = server.get_client()
    client.put(b"k", b"v")
    client.close()
    assert alive(server.pid)


def test_it_ends_with_its_guard(server: EtcdServer) -> None:
    """Whoever kills the guard alone leaves no etcd behind."""
    server.start()
    assert server._guard is not None
    os.kill(server._guard.pid, signal.SIGKILL)
    gone(server.pid)


def test_it_is_stopped_while_a_fork_of_its_user_lives(server: EtcdServer) -> None:
    """The fork holds the pipe whose end would tell the guard."""
    server.start()
    pid = server.pid
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        Background(server.stop).result()
        gone(pid)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_is_no_etcd_is_told(tmp_path: Path) -> None:
    """With the end of what it wrote."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\necho I am no etcd >&2\nexit 3\n")
    program.chmod(0o700)
    server = EtcdServer(binary=str(program))
    with pytest.raises(StoreConnectionError, match=r"exit code 3.*I am no etcd"):
        server.start(num_retries=1)


def test_one_that_never_answers_is_ended(tmp_path: Path) -> None:
    """After the timeout, which the error says."""
    program = tmp_path / "etcd"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    server = EtcdServer(binary=str(program))
    with pytest.raises(StoreTimeoutError, match="does not answer"):
        server.start(timeout=0.3)
    gone(server.pid)


def test_where_the_program_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The argument, our variable, torch's variable; each must be a program."""
    ours, torchs, given = (tmp_path / name for name in ("ours", "torchs", "given"))
    for program in (ours, torchs, given):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
    monkeypatch.setenv("TORCHELASTIC_ETCD_BINARY_PATH", str(torchs))
    monkeypatch.delenv("RENDEZVOUS_ETCD_BINARY", raising=False)
    assert find_binary() == str(torchs)
    monkeypatch.setenv("RENDEZVOUS_ETCD_BINARY", str(ours))
    assert find_binary() == str(ours)
    assert find_binary(str(given)) == str(given)
    ours.chmod(0o600)
    with pytest.raises(FileNotFoundError, match=r"RENDEZVOUS_ETCD_BINARY names .*ours"):
        find_binary()
