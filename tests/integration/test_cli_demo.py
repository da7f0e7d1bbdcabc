"""`rendezvous demo` as a process."""

from __future__ import annotations

import os
import re
import signal

import pytest
from support.cli import Cli, wait_for
from support.proc import alive, children
from support.terminal import on_terminal, read_until


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
    started = wait_for("the first processes", lambda: children(pid))
    demo.send(signum)
    code = demo.end()
    # On a fast machine the demo may have been over when the signal came.
    assert code in {0, 128 + signum, -signum}
    wait_for("the end of the processes", lambda: not any(map(alive, started)))
    assert "Traceback" not in demo.stderr


def test_a_process_that_dies_fails_the_demo(cli: Cli) -> None:
    """The demo says which process died, and does not wait for the others to time out."""
    demo = cli.start("demo", "--nodes", "32")
    pid = demo.process.pid
    victim = wait_for("the first processes", lambda: children(pid))[0]
    # It cannot be done: the others that it meets have not even been started.
    os.kill(victim, signal.SIGKILL)
    assert demo.end() == 1
    assert f"process {victim} ended with exit code 137" in demo.stderr


def test_one_is_killed_and_the_others_meet_again(cli: Cli) -> None:
    """Who was lost, how fast the others noticed and met again, and who has its rank now."""
    done = cli.run("demo", "--nodes", "4")
    out = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    rows = dict(re.findall(r"^127\.0\.0\.1:(\d+) +(\d+) ", out, re.MULTILINE))
    killed = re.search(r"killing rank 2: kill -9 (\d+)$", out, re.MULTILINE)
    assert killed
    assert rows[killed[1]] == "2"
    assert f"  lost: 127.0.0.1 (pid {killed[1]})\n" in out
    noticed = re.search(r"all others noticed after +(\d+\.\d) ms", out)
    met = re.search(r"all met again after +(\d+\.\d) ms, \d+\.\d ms later, in round 2", out)
    assert noticed
    assert met
    assert 0 < float(noticed[1]) <= float(met[1])
    spare = re.search(r"rank 2 is now pid (\d+), the spare; all others kept their ranks", out)
    assert spare
    assert spare[1] not in rows


def test_one_process_alone_is_not_killed(cli: Cli) -> None:
    """Nobody would be left to see it."""
    done = cli.run("demo", "--nodes", "1")
    assert done.returncode == 0
    assert b"kill" not in done.stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_of_any_width_gets_colours_and_whole_rows(columns: int) -> None:
    """Of a narrow one, the column that counts."""
    with on_terminal("demo", "--nodes", "2", columns=columns) as terminal:
        out = read_until(terminal, "all others kept their ranks")
    assert "\x1b[1;31mkill -9 " in out
    rows = [line for line in out.splitlines() if line.startswith("127.0.0.1:")]
    assert len(rows) == 2
    assert all(len(row) <= min(columns + 1, 78) for row in rows)
    assert ("barrier" in out.splitlines()[2]) == (columns >= 80)
