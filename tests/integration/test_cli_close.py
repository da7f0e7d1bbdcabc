"""`rendezvous close`: a run is ended for all of its nodes from a shell, however it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli, free_port, report_command, reports_of_round, stop, wait_for
from support.etcd import NO_ETCD, Cluster, binaries
from support.proc import alive

CONF = "keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=1"


Place = tuple[str, list[str], list[str]]


@pytest.fixture(params=["server", "store", "file", "etcd", "etcd-store"])
def place(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> Iterator[Place]:
    """An endpoint, what exec needs to meet there, and what close needs to find it."""
    how = request.param
    if how == "file":
        yield f"file://{tmp_path}/kept", ["--rdzv-conf", CONF], []
    elif not how.startswith("etcd"):
        _, endpoint = cli.serve()
        yield endpoint, ["--rdzv-conf", f"{CONF},rulebook={how}"], []
    elif not binaries():
        pytest.skip(NO_ETCD)
    else:
        rulebook = "store" if how == "etcd-store" else "auto"
        with Cluster(binaries()[-1], 1) as cluster:
            etcd = ["--backend", "etcd"]
            conf = ["--rdzv-conf", f"{CONF},rulebook={rulebook}", "--local-addr", "127.0.0.1"]
            yield cluster.endpoints, [*etcd, *conf], etcd


@pytest.mark.parametrize("is_final", [False, True])
def test_all_nodes_end_and_say_why(cli: Cli, tmp_path: Path, place: Place, is_final: bool) -> None:
    """Those that take part, one that waits as a spare, and one that comes too late; with 93 if
    there is no use in starting them again.
    """
    endpoint, words, where = place
    where = [*where, "--do-not-restart"] if is_final else where
    words = ["--run-id", "job", *words]
    nodes = [cli.start_exec(endpoint, "2", *words, *report_command(tmp_path)) for _ in range(2)]
    pids = [report["pid"] for report in reports_of_round(tmp_path, 2)]
    nodes.append(cli.start_exec(endpoint, "2", *words, "--", "false"))
    nodes[-1].line("spare")
    done = cli.run("close", "job", "--reason", "wrong data set", "--endpoint", endpoint, *where)
    assert done.returncode == 0, done.stderr
    how = " is closed, and is not to be restarted" if is_final else " is closed"
    assert done.stdout.decode() == f"run 'job' at {endpoint}{how}\n"
    # What is in a file is forgotten when nobody has it open any more.
    is_kept = not endpoint.startswith("file:")
    if is_kept:
        nodes.append(cli.start_exec(endpoint, "2", *words, "--", "true"))
    code = 93 if is_final else 1
    assert {node.end() for node in nodes} == {code}, [node.stderr for node in nodes]
    wait_for("the end of the commands", lambda: not any(map(alive, pids)))
    for node in nodes:
        assert "Traceback" not in node.stderr
        assert "wrong data set" in node.stderr.splitlines()[-1]
    if not is_kept:
        return
    again = cli.run("close", "job", "--endpoint", endpoint, *where)
    assert again.returncode == 0
    status = cli.run("status", "job", "--endpoint", endpoint, *_look(where))
    what = "failed for good, do not restart it" if is_final else "closed: no more nodes can join"
    assert f"{what}, the reason: wrong data set" in status.stdout.decode(), status


def _look(where: list[str]) -> list[str]:
    return [word for word in where if word != "--do-not-restart"]


def test_a_run_in_a_file_is_shown(cli: Cli, tmp_path: Path) -> None:
    """By its URL; a file that is not there is not made."""
    endpoint = f"file://{tmp_path}/kept"
    for words in (["job"], []):
        assert cli.run("status", *words, "--endpoint", endpoint).returncode in {1, 3}
    assert not (tmp_path / "kept").exists()
    node = cli.start_exec(endpoint, "1", "--run-id", "job", *report_command(tmp_path))
    reports_of_round(tmp_path, 1)
    status = cli.run("status", "job", "--endpoint", endpoint)
    assert b"round 1: complete, with 1 rank\n" in status.stdout
    assert b"kept by its nodes" in status.stdout
    assert cli.run("status", "--endpoint", endpoint).stdout.startswith(b"file ")
    stop(tmp_path)
    assert node.end() == 0


@pytest.mark.parametrize("place", ["server", "store", "etcd", "etcd-store"], indirect=True)
def test_a_verdict_takes_the_place_of_an_ordinary_close(cli: Cli, place: Place) -> None:
    """And no ordinary close takes its place."""
    endpoint, words, where = place
    ended = cli.start_exec(endpoint, "1", "--run-id", "job", *words, "--", "true")
    assert ended.end() == 0, ended.stderr

    def close(*more: str) -> None:
        done = cli.run("close", "job", "--endpoint", endpoint, *where, *more)
        assert done.returncode == 0, done.stderr

    close("--reason", "enough")
    close("--reason", "broken data", "--do-not-restart")
    close("--reason", "something else")
    late = cli.start_exec(endpoint, "1", "--run-id", "job", *words, "--", "true")
    assert late.end() == 93, late.stderr
    assert "broken data" in late.stderr


def test_a_run_that_is_not_there(cli: Cli) -> None:
    """Exit code 1, as for status; nothing is left behind."""
    _, endpoint = cli.serve()
    done = cli.run("close", "job", "--endpoint", endpoint)
    assert done.returncode == 1
    assert b"no such run: 'job'" in done.stderr
    assert cli.run("keys", "--endpoint", endpoint).stdout == b""


def test_a_server_that_is_not_there(cli: Cli) -> None:
    """Exit code 3."""
    done = cli.run("close", "job", "--endpoint", f"127.0.0.1:{free_port()}", "--timeout", "5")
    assert done.returncode == 3
    assert b"start a server, or give the right --endpoint" in done.stderr
