"""`rendezvous demo` as a process."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support.cli import Cli, alive, wait_for


def _children(pid: int) -> list[int]:
    # Of all its threads: one of them starts them.
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in lists for word in text.split()]


def test_eight_processes_meet(cli: Cli) -> None:
    """Eight rows with ranks 0 to 7 and times, and a summary."""
    done = cli.run("demo", "--nodes", "8")
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^127\.0\.0\.1:(\d+) +(\d+)((?: +\d+\.\d){4})$", out, re.MULTILINE)
    assert [int(rank) for _, rank, _ in rows] == list(range(8))
    assert len({pid for pid, _, _ in rows}) == 8
    assert "8 distinct ranks, world size 8" in out
    assert re.search(r"^MASTER_ADDR=\S+ MASTER_PORT=\d+$", out, re.MULTILINE)
    assert done.stderr == b""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(cli: Cli, signum: int) -> None:
    """However the demo ends, its processes end with it, and silently."""
    demo = cli.start("demo", "--nodes", "16")
    pid = demo.process.pid
    children = wait_for("the first processes", lambda: _children(pid))
    demo.send(signum)
    code = demo.end()
    # On a fast machine the demo may have been over when the signal came.
    assert code in {0, 128 + signum, -signum}
    wait_for("the end of the processes", lambda: not any(map(alive, children)))
    assert "Traceback" not in demo.stderr


def test_a_process_that_dies_fails_the_demo(cli: Cli) -> None:
    """The demo says which process died, and does not wait for the others to time out."""
    demo = cli.start("demo", "--nodes", "32")
    pid = demo.process.pid
    victim = wait_for("the first processes", lambda: _children(pid))[0]
    # It cannot be done: the others that it meets have not even been started.
    os.kill(victim, signal.SIGKILL)
    assert demo.end() == 1
    assert f"process {victim} ended with exit code 137" in demo.stderr
