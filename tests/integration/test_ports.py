"""Ports that are kept for who shall have them, and sockets that are handed over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from support.cli import BACKSTOP_S, Cli, environment, free_port

# Fails unless the port is refused to who does not share it, and given to who does.
_HELD = """\
import os, socket
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
with socket.socket() as greedy:
    try:
        greedy.bind(address)
    except OSError:
        pass
    else:
        raise SystemExit("anybody could have had it")
with socket.create_server(address) as server, socket.create_connection(address):
    server.accept()
print("served")
"""
_FREE = """\
import os, socket
with socket.socket() as greedy:
    greedy.bind((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
print("served")
"""


@pytest.mark.parametrize(
    ("words", "source"),
    [(("--no-bootstrap-store",), _HELD), (("--no-bootstrap-store", "--release-port"), _FREE)],
)
def test_the_port_that_the_command_shall_serve(
    cli: Cli, words: tuple[str, ...], source: str
) -> None:
    """Nobody else gets it before the command; a program that cannot share it is given it free."""
    endpoint = f"127.0.0.1:{free_port()}"
    command = ("--", sys.executable, "-I", "-S", "-c", source)
    node = cli.start_exec(endpoint, "1", *words, *command)
    assert node.end() == 0, node.stderr
    assert node.stdout == "served\n"


def test_exec_serves_on_a_socket_that_it_is_given(cli: Cli) -> None:
    """Whoever chose the port has held it all the time."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        done = _run(bound, "exec", "--endpoint", f"127.0.0.1:{port}", "--nodes", "1",
                    "--", "sh", "-c", "echo $RENDEZVOUS_ENDPOINT")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == f"tcp://127.0.0.1:{port}/runs/default\n"
        assert b"on a given socket" in done.stderr
        other = _run(bound, "exec", "--endpoint", "127.0.0.1:1", "--nodes", "1", "--", "true")
        assert other.returncode == 2
        assert b"make both the same" in other.stderr


def test_serve_serves_on_a_socket_that_it_is_given(cli: Cli) -> None:
    """As a service manager hands one over."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        fd = os.dup(bound.fileno())
        os.set_inheritable(fd, True)
        process = subprocess.Popen(
            [sys.executable, "-m", "rendezvous", "serve", "--listen-fd", str(fd)],
            cwd=cli.cwd, env=environment(), stderr=subprocess.PIPE, pass_fds=(fd,),
        )  # fmt: skip
        os.close(fd)
        assert process.stderr is not None
        try:
            told = next(line for line in process.stderr if b"listening on" in line)
            assert told.strip().endswith(b"127.0.0.1:%d" % port)
            assert cli.run("add", "k", "--endpoint", f"127.0.0.1:{port}").stdout == b"1\n"
        finally:
            process.terminate()
            process.communicate()
        assert process.returncode == 0


def _run(bound: socket.socket, *words: str) -> subprocess.CompletedProcess[bytes]:
    fd = os.dup(bound.fileno())
    os.set_inheritable(fd, True)
    try:
        return subprocess.run(
            [sys.executable, "-m", "rendezvous", words[0], "--listen-fd", str(fd), *words[1:]],
            env=environment(), capture_output=True, pass_fds=(fd,), timeout=BACKSTOP_S,
            check=False, cwd="/",
        )  # fmt: skip
    finally:
        os.close(fd)
