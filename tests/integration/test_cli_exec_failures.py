"""Commands that fail under `rendezvous exec`: for good, or because another node was lost."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import (
    Cli,
    Running,
    free_port,
    report_command,
    reports,
    reports_of_round,
    stop,
    wait_for,
)
from support.etcd import NO_ETCD, Cluster, binaries
from support.proc import alive

# A lost node is noticed after 3 s; nobody shall wait for a deadline of ten minutes.
_CONF = "keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=1"


class Job:
    """Nodes of one run, kept in one of the ways there are."""

    def __init__(self, cli: Cli, endpoint: str, nodes: str, words: tuple[str, ...]) -> None:
        self._cli = cli
        self._endpoint = endpoint
        self._nodes = nodes
        self._words = words

    def wait_for_host(self, nodes: list[Running]) -> None:
        """Until one of these nodes serves the store, if nodes do: it stays for all others."""
        if "etcd" not in self._words:
            text = "serving the rendezvous store"
            wait_for("a host", lambda: any(text in node.stderr for node in nodes))

    def start(self, *words: str, nodes: str = "") -> Running:
        options = (*self._words, "--local-addr", "127.0.0.1", *words)
        return self._cli.start_exec(self._endpoint, nodes or self._nodes, *options)


@pytest.fixture(params=["server", "store", "etcd"])
def job(request: pytest.FixtureRequest, cli: Cli) -> Iterator[Job]:
    """A job of two nodes, that may have more."""
    if request.param != "etcd":
        conf = f"{_CONF},rulebook={request.param}"
        yield Job(cli, f"127.0.0.1:{free_port()}", "2:3", ("--rdzv-conf", conf))
        return
    found = binaries()
    if not found:
        pytest.skip(NO_ETCD)
    with Cluster(found[-1], 1) as cluster:
        words = ("--backend", "etcd", "--run-id", "job", "--rdzv-conf", _CONF)
        yield Job(cli, cluster.endpoints, "2:3", words)


def _last_line(running: Running) -> str:
    return running.stderr.splitlines()[-1]


def _root_cause(nodes: list[Running]) -> str:
    """What the last line of every node says alike, from the name of the root cause on."""
    causes = {_last_line(node).rpartition("node 127.0.0.1 (pid")[2] for node in nodes}
    causes = {cause.partition(" (TCPStore")[0] for cause in causes}
    assert len(causes) == 1, [node.stderr for node in nodes]
    return causes.pop()


def test_a_command_that_fails_everywhere_ends_the_job(job: Job) -> None:
    """A typing mistake: every node ends with its command's exit code, or is told not to start
    again, and says who failed first, how, and what was its last line."""
    script = "echo starting >&2; sleep 0.$RANK; echo no such dataset $RANK >&2; exit 4"
    nodes = [job.start("--", "bash", "-c", script, nodes="3") for _ in range(3)]
    assert {node.end() for node in nodes} <= {4, 93}
    cause = _root_cause(nodes)
    assert re.search(r"exit code 4, its last line: 'rank (\d): no such dataset \1'", cause)
    assert " UTC: " in cause


def test_a_command_that_fails_on_one_node_ends_the_job(job: Job, tmp_path: Path) -> None:
    """The other nodes' commands run on, until they are stopped because too few nodes are left."""
    script = (
        "touch there-$RANK; while [ $RANK != 0 ]; do sleep 0.05; done;"
        "while [ ! -e there-1 ]; do sleep 0.05; done; echo out of memory >&2; exit 9"
    )
    nodes = [job.start("--", "bash", "-c", script, nodes="2") for _ in range(2)]
    assert sorted(node.end() for node in nodes) == [9, 93]
    assert "exit code 9, its last line: 'rank 0: out of memory'" in _root_cause(nodes)


def test_the_others_go_on_while_they_are_enough(job: Job, tmp_path: Path) -> None:
    """Of two to three nodes, one gives up: two make the next round."""
    command = report_command(tmp_path)
    others = [job.start(*command) for _ in range(2)]
    job.wait_for_host(others)
    there = "echo $RENDEZVOUS_ROUND > there.part; mv there.part there"
    wait = f"{there}; while ! test -e fail; do sleep 0.05; done; exit 9"
    failing = job.start("--", "sh", "-c", wait)
    wait_for("three nodes", (tmp_path / "there").exists)
    together = int((tmp_path / "there").read_text())
    # The others may have seen a round before that, and none of it must be taken for the next one.
    wait_for(
        "the others",
        lambda: [int(r["env"]["RENDEZVOUS_ROUND"]) for r in reports(tmp_path)].count(together) == 2,
    )
    (tmp_path / "fail").touch()
    assert failing.end() == 9
    reports_of_round(tmp_path, 2, after=together)
    stop(tmp_path)
    for other in others:
        assert other.end() == 0, other.stderr


def test_a_failure_that_follows_a_loss_is_not_counted(job: Job, tmp_path: Path) -> None:
    """An elastic job loses a node, and the others' commands break by it before anybody has missed
    that node: those that are left meet again, without --max-restarts."""
    # Breaks once the victim is gone; in the next round, it ends well. (On a slow machine, two may
    # meet before the third one comes.)
    script = (
        "echo $$ > pid-$RENDEZVOUS_ROUND-$RANK.part; mv pid-$RENDEZVOUS_ROUND-$RANK.part"
        " pid-$RENDEZVOUS_ROUND-$RANK; [ $WORLD_SIZE = 2 ] && test -e broken && exit 0;"
        "while ! test -e broken; do sleep 0.02; done; exit 6"
    )
    nodes = [job.start("--", "bash", "-c", script) for _ in range(3)]
    pids = wait_for("a round of 3", lambda: _pids_of_three(tmp_path))
    for node in nodes:
        node.line("round ")
    victim = next(node for node in nodes if "serving the rendezvous store" not in node.stderr)
    nodes.remove(victim)
    victim.send(signal.SIGKILL)
    wait_for("the end of the victim's command", lambda: not all(map(alive, pids)))
    (tmp_path / "broken").touch()
    for node in nodes:
        assert node.end() == 0, node.stderr
        assert "as the membership changed" in node.stderr


def _pids_of_three(directory: Path) -> list[int] | None:
    for number in range(1, 9):
        paths = [directory / f"pid-{number}-{rank}" for rank in range(3)]
        if all(path.exists() for path in paths):
            return [int(path.read_text()) for path in paths]
    return None


def test_a_run_that_failed_can_be_started_again(cli: Cli, tmp_path: Path) -> None:
    """At a server that outlives the job, its name is free for the next attempt."""
    server, endpoint = cli.serve()
    words = ("--run-id", "job", "--rdzv-conf", _CONF)
    failing = [cli.start_exec(endpoint, "2", *words, "--", "false") for _ in range(2)]
    assert [node.end() for node in failing] == [1, 1]
    again = [cli.start_exec(endpoint, "2", *words, "--", "true") for _ in range(2)]
    assert [node.end() for node in again] == [0, 0], again[0].stderr
    shown = cli.run("status", "job", "--endpoint", endpoint)
    assert shown.returncode == 0
    server.send(signal.SIGTERM)
    assert server.end() == 0


def test_what_the_command_writes_to_stderr_is_passed_on_untouched(cli: Cli) -> None:
    """Every byte of it, in order, also what is no text and has no newline."""
    script = (
        "import os; data = bytes(range(256)) * 4096; n = 0\n"
        "while n < len(data): n += os.write(2, data[n:])\n"
        "os.write(2, b'\\nEND')\n"
    )
    done = cli.run(
        "exec", "--endpoint", f"127.0.0.1:{free_port()}", "--nodes", "1", "--",
        "python3", "-I", "-S", "-c", script,
    )  # fmt: skip
    assert done.returncode == 0
    # exec's own lines may stand between two pieces of it.
    passed_on = re.sub(rb"rendezvous: [-\d]+ [:.\d]+ [A-Z]+ [^\n]*\n", b"", done.stderr)
    assert bytes(range(256)) * 4096 + b"\nEND" in passed_on
