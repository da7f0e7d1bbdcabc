"""What `rendezvous exec` does with its command's output where something is in the way."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import Cli, environment, wait_for
from support.proc import alive, children, words


def is_guard(pid: int) -> bool:
    return any("guard.py" in word for word in words(pid))


def test_a_log_folder_that_cannot_be_is_told_before_anybody_joins(cli: Cli, tmp_path: Path) -> None:
    """No other node waits for one that will not run, or ends because of it."""
    (tmp_path / "file").write_text("")
    server, endpoint = cli.serve()
    words = ("--run-id", "job", "--log-dir", "file/logs")
    node = cli.start_exec(endpoint, "2", *words, "--", "true")
    assert node.end() == 1
    assert "cannot create the folder of --log-dir" in node.stderr
    assert "joining" not in node.stderr
    assert "round" not in server.stderr


def test_files_stay_in_the_folder_whatever_the_run_is_called(cli: Cli, tmp_path: Path) -> None:
    """The name `..` is not the folder above."""
    node = cli.start(
        "exec", "--standalone", "--run-id", "..", "--log-dir", "a/b", "--", "echo", "words"
    )
    assert node.end() == 0
    [log] = tmp_path.rglob("*.log")
    assert log.read_text() == "words\n"
    assert log.is_relative_to(tmp_path / "a" / "b")


def test_a_file_s_last_line_is_not_told_of_a_later_job(cli: Cli, tmp_path: Path) -> None:
    """Both have the name and the file; the second one has written nothing."""
    words = ("exec", "--standalone", "--log-dir", "logs", "--", "sh", "-c")
    first = cli.start(*words, "echo yesterday >&2; exit 3")
    assert first.end() == 3
    assert "its last line: 'rank 0: yesterday'" in first.stderr
    second = cli.start(*words, "exit 3")
    assert second.end() == 3
    assert "yesterday" not in second.stderr
    assert "(it wrote nothing to stderr)" in second.stderr
    [log] = tmp_path.rglob("*.log")
    assert log.read_text() == "yesterday\n"


def test_more_processes_than_select_knows_descriptors(cli: Cli) -> None:
    """Each has a pipe, and all are copied."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("the hard limit of open files is too low")
    before = ("bash", "-c", 'ulimit -n 4096; exec "$@"', "bash")
    words = ("--standalone", "--tee", "--procs-per-node", "256", "--", "true")
    node = cli.start("exec", *words, before=before)
    assert node.end() == 0, node.stderr


def test_too_few_descriptors_are_told_in_words(cli: Cli) -> None:
    """With what helps."""
    before = ("bash", "-c", 'ulimit -n 100; exec "$@"', "bash")
    words = ("--standalone", "--tee", "--procs-per-node", "200", "--", "true")
    node = cli.start("exec", *words, before=before)
    assert node.end() == 1
    assert "raise the limit of open files (ulimit -n)" in node.stderr
    assert "Traceback" not in node.stderr


def test_a_command_after_the_loss_of_the_guard_says_what_it_says(cli: Cli, tmp_path: Path) -> None:
    """It has our own stderr, and no pipe that nobody reads."""
    code = (
        "import os, sys, time\n"
        "if os.environ['RENDEZVOUS_ROUND'] == '1':\n"
        "    while not os.path.exists('killed'): time.sleep(0.02)\n"
        "    sys.exit(1)\n"
        "sys.stderr.write('all is well\\n'); sys.stderr.flush()\n"
    )
    words = ("--standalone", "--max-restarts", "1", "--", sys.executable, "-c", code)
    node = cli.start("exec", *words)
    node.line("round 1: rank 0")
    [guard] = wait_for(
        "the guard", lambda: [pid for pid in children(node.process.pid) if is_guard(pid)]
    )
    os.kill(guard, signal.SIGKILL)
    (tmp_path / "killed").write_text("")
    assert node.end() == 0, node.stderr
    assert "all is well" in node.stderr.splitlines()


def test_a_command_outlives_the_guard_and_exec_still_has_one(cli: Cli, tmp_path: Path) -> None:
    """Its next line meets no broken pipe; and if exec is killed, so is the command."""
    code = (
        "import os, sys, time\n"
        "print(os.getpid(), 'before', flush=True)\n"
        "while not os.path.exists('killed'): time.sleep(0.02)\n"
        "for number in range(20000): print('line', number)\n"
        "print('after', flush=True)\n"
        "time.sleep(1000)\n"
    )
    node = cli.start("exec", "--standalone", "--tee", "--", sys.executable, "-c", code)
    node.line("before", "stdout")
    pid = int(node.stdout.split("[rank 0] ")[1].split()[0])
    [guard] = wait_for(
        "the guard", lambda: [pid for pid in children(node.process.pid) if is_guard(pid)]
    )
    os.kill(guard, signal.SIGKILL)
    node.line("another one takes its place")
    (tmp_path / "killed").write_text("")
    node.line("[rank 0] after", "stdout")
    assert "[rank 0] line 19999\n" in node.stdout
    node.send(signal.SIGKILL)
    wait_for("the command is killed", lambda: not alive(pid))


def test_an_event_log_on_a_full_disk_is_told_once(cli: Cli) -> None:
    """In one line, and the command runs."""
    node = cli.start("exec", "--standalone", "--event-log", "/dev/full", "--", "true")
    assert node.end() == 0
    assert node.stderr.count("--event-log is not complete") == 1
    assert "Traceback" not in node.stderr


def test_standard_streams_that_are_closed_are_nobodys(tmp_path: Path) -> None:
    """Our own descriptors do not take their numbers, and the command has none of ours."""
    code = "import os; print(sorted(os.path.realpath(f'/proc/self/fd/{n}') for n in (0, 1, 2)))"
    words = [sys.executable, "-m", "rendezvous", "exec", "--standalone", "--log-dir", "logs"]
    shell = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash"]
    ended = subprocess.run(
        [*shell, *words, "--", sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert ended.returncode == 0
    [log] = tmp_path.rglob("*.log")
    assert log.read_text() == str(sorted(["/dev/null", str(log), str(log)])) + "\n"
