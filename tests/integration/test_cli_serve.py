"""`rendezvous serve` as a process."""

from __future__ import annotations

import signal
import socket

from support.cli import Cli


def test_sigterm_ends_the_server_with_success(cli: Cli) -> None:
    """A supervisor that stops the server sees success."""
    server, endpoint = cli.serve()
    assert endpoint.startswith("127.0.0.1:")
    server.send(signal.SIGTERM)
    assert server.end() == 0
    assert "stopped by SIGTERM" in server.stderr
    assert server.stdout == ""


def test_ctrl_c_ends_the_server_with_130(cli: Cli) -> None:
    """Ctrl-C shows no traceback, and the exit code of a shell."""
    server, _ = cli.serve()
    server.send(signal.SIGINT)
    assert server.end() == 130
    assert "Traceback" not in server.stderr


def test_port_in_use_is_one_clear_line(cli: Cli) -> None:
    """A second server at the port says which port is taken, and fails."""
    _, endpoint = cli.serve()
    port = endpoint.rpartition(":")[2]
    second = cli.run("serve", "--port", port)
    assert second.returncode == 1
    message = second.stderr.decode()
    assert port in message
    assert len(message.splitlines()) == 1


def test_unknown_host_is_one_clear_line(cli: Cli) -> None:
    """An address that is not this machine's cannot be served."""
    done = cli.run("serve", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 1
    assert b"192.0.2.1" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_port_can_be_served_again_at_once(cli: Cli) -> None:
    """A server that was stopped leaves its port to the next one."""
    server, endpoint = cli.serve()
    assert cli.run("set", "k", "v", "--endpoint", endpoint).returncode == 0
    server.send(signal.SIGTERM)
    assert server.end() == 0
    again = cli.start("serve", "--port", endpoint.rpartition(":")[2])
    again.line(f"listening on {endpoint}")
    # It is a new store.
    assert cli.run("get", "k", "--endpoint", endpoint).returncode == 1


def test_a_word_is_enough_where_there_is_nothing_but_nc(cli: Cli) -> None:
    """Lines of text, and then the connection ends, though the peer's own stream is still open."""
    server, endpoint = cli.serve()
    exec_ = cli.start_exec(endpoint, "2", "--run-id", "my-job", "--", "true")
    server.line("1 of at least 2 nodes has joined")
    said = {}
    for words in ("status", "status my-job"):
        with socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2]))) as peer:
            peer.sendall(f"{words}\n".encode())
            said[words] = peer.makefile("rb").read().decode()
    assert (
        "run 'my-job': round 1, forming: 1 of at least 2 (at most 2) nodes joined" in said["status"]
    )
    assert f"(pid {exec_.process.pid})" in said["status my-job"]


def test_serve_logs_who_came_to_a_round_that_forms(cli: Cli) -> None:
    """With its address, without being asked."""
    server, endpoint = cli.serve()
    exec_ = cli.start_exec(endpoint, "2", "--run-id", "my-job", "--", "true")
    line = server.line("1 of at least 2 nodes has joined")
    assert "run 'my-job': round 1: " in line
    assert f"(pid {exec_.process.pid})" in line
