"""The guard process of `exec`: what it copies, and that nobody who reads slowly keeps it from its
work.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import BACKSTOP_S, wait_for
from support.proc import alive

from rendezvous.cli.run.guard_client import Guard


class Copied:
    """A guard that copies one stream of a command to a pipe, which the test reads."""

    def __init__(self, stderr: int) -> None:
        saved = os.dup(2)
        os.dup2(stderr, 2)
        try:
            self.guard = Guard([2])
        finally:
            os.dup2(saved, 2)
            os.close(saved)

    def say(self, words: bytes) -> None:
        os.write(self.guard.pipes[0], words)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)


def wait_for_data(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(BACKSTOP_S * 1000)


def all_of(read_fd: int) -> bytes:
    data = b""
    while more := os.read(read_fd, 1 << 16):
        data += more
    return data


@pytest.fixture
def copied(pipe: tuple[int, int]) -> Copied:
    made = Copied(pipe[1])
    os.close(pipe[1])
    return made


def test_what_a_command_said_last_is_not_the_next_ones(
    copied: Copied, pipe: tuple[int, int], tmp_path: Path
) -> None:
    """However much of it is still in the pipe when the next one begins."""
    first, second = tmp_path / "first", tmp_path / "second"
    with copied.guard as guard:
        guard.begin([("[1] ", str(first))])
        os.kill(guard._process.pid, signal.SIGSTOP)  # it is slow
        copied.say(b"one\n" * 1000)
        os.kill(guard._process.pid, signal.SIGCONT)
        guard.begin([("[2] ", str(second))])
        copied.say(b"two\n")
        assert guard.last_words(0) == b"two\n"
    assert first.read_bytes() == b"one\n" * 1000
    assert second.read_bytes() == b"two\n"
    assert all_of(pipe[0]) == b"[1] one\n" * 1000 + b"[2] two\n"


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(
    copied: Copied, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads our output slowly keeps the guard from answering."""
    with copied.guard as guard:
        guard.begin([(None, None)])
        copied.say(b"early")
        assert guard.last_words(0) == b"early"
        os.kill(guard._process.pid, signal.SIGSTOP)
        monkeypatch.setattr("rendezvous.cli.run.guard_client._ANSWER_S", 0.0)
        assert guard.last_words(0) is None
        monkeypatch.undo()
        os.kill(guard._process.pid, signal.SIGCONT)
        wait_for_data(guard._answers)
        copied.say(b", late")
        assert guard.last_words(0) == b"early, late"


def test_what_a_guard_that_was_killed_has_copied_is_not_known(copied: Copied) -> None:
    """The next one does not say that nothing was written."""
    with copied.guard as guard:
        guard.begin([(None, None)])
        copied.say(b"early")
        assert guard.last_words(0) == b"early"
        guard._process.kill()
        guard._process.wait()
        assert guard.mend()
        assert guard.last_words(0) is None
        copied.say(b"late")
        assert guard.last_words(0) == b"late"
        guard.begin([(None, None)])
        assert guard.last_words(0) == b""


def test_progress_bars_and_unfinished_lines_are_shown(
    copied: Copied, pipe: tuple[int, int]
) -> None:
    """A carriage return ends a line as a newline does, and two of one kind are one end."""
    with copied.guard as guard:
        guard.begin([("[0] ", None)])
        copied.say(b"10%\r20%\r")
        assert guard.last_words(0) == b"10%\r20%\r"
        wait_for_data(pipe[0])
        assert os.read(pipe[0], 100) == b"[0] 10%\r"
        copied.say(b"\nend\r\nno newline")
    assert all_of(pipe[0]) == b"[0] 20%\r\n[0] end\r\n[0] no newline\n"


def test_a_file_that_cannot_be_written_is_told_once(
    copied: Copied, pipe: tuple[int, int], tmp_path: Path
) -> None:
    """What the command says is shown all the same."""
    with copied.guard as guard:
        guard.begin([("[0] ", "/dev/full")])
        for _ in range(3):
            copied.say(b"words\n")
            guard.last_words(0)
        guard.begin([("[0] ", str(tmp_path / "no" / "folder"))])
        copied.say(b"more\n")
    lines = all_of(pipe[0]).decode().splitlines()
    assert lines.count("[0] words") == 3
    assert lines.count("[0] more") == 1
    told = [line for line in lines if line.startswith("rendezvous: ")]
    assert len(told) == 2
    assert "/dev/full is not complete" in told[0]
    assert "No space left" in told[0]
    assert "no/folder is not complete" in told[1]


def test_a_reader_who_stops_does_not_save_the_command_of_an_exec_that_was_killed(
    pipe: tuple[int, int],
) -> None:
    """The guard cannot write on, and kills all the same."""
    code = f"""
import os, subprocess, sys
from rendezvous.cli.run.guard_client import Guard
os.dup2({pipe[1]}, 2)
guard = Guard([2])
guard.begin([("[0] ", None)])
command = subprocess.Popen(
    ["yes"], stdout=guard.pipes[0], start_new_session=True, preexec_fn=guard.announce)
print(command.pid, flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[pipe[1]],
    )
    assert holder.stdout is not None
    command = int(holder.stdout.readline())

    full = select.poll()
    full.register(pipe[1], select.POLLOUT)
    # It writes more at once than a pipe holds.
    wait_for("the guard is stuck", lambda: not full.poll(0))
    os.close(pipe[1])
    assert alive(command)
    holder.kill()
    holder.wait()
    wait_for("the command is killed", lambda: not alive(command))
    assert holder.stdin is not None
    holder.stdin.close()
    holder.stdout.close()
