"""The command that `exec` runs: a session of its own, started, signalled and stopped as one.

Only the main thread uses it, with a SignalScope open that includes SIGCHLD, so that the end of
the command wakes `SignalScope.wait`. Knows nothing of rendezvous.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger
from rendezvous.cli.run import guard as _guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from rendezvous.cli.run.signals import SignalScope

# Nothing tells that a group is empty once its leader is gone, so this one is asked for.
_GROUP_POLL_S = 0.05
# What SIGKILL does not end by then hangs in the kernel (a dead file server): go on without it.
_KILL_S = 10.0
# For an answer of the guard, which may wait for who reads our stderr.
_ANSWER_S = 2.0


def check_program(name: str) -> None:
    """Raise CommandError, 127 or 126 as a shell would, unless `name` can be run."""
    if shutil.which(name) is not None:
        return
    if os.sep in name and Path(name).exists():
        raise _exit.CommandError(
            f"cannot run {name}: it is no executable file", _exit.NOT_EXECUTABLE
        )
    where = "" if os.sep in name else " in PATH"
    raise _exit.CommandError(f"command not found{where}: {name}", _exit.NOT_FOUND)


class Guard:
    """The process that kills the command if this process is killed, and copies the command's
    stderr. See guard.py.
    """

    def __init__(self) -> None:
        self.token = f"{os.getpid()}-{os.urandom(8).hex()}"
        # What draws on a terminal shall find one: then nobody knows what was said last.
        self.stderr: int | None = None
        read_fd = -1
        if not _is_terminal(2):
            read_fd, self.stderr = os.pipe()
        script = Path(__file__).with_name("guard.py")
        # A session of its own: a signal to our group, Ctrl-C included, is not for it. No stdout:
        # who waits for the end of our output must not wait for the guard.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), self.token, str(read_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.stderr is None else None,
            pass_fds=() if self.stderr is None else (read_fd,),
            start_new_session=True,
        )
        if read_fd >= 0:
            os.close(read_fd)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._fd = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It reads the end of file; the last command it was told decides whether it kills. It goes
        # on copying for what a command that succeeded has left behind.
        if self.stderr is not None:
            os.close(self.stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._read_until(lambda data: False, _KILL_S)
        self._process.stdout.close()
        self._process.poll()
        # Not waited for, and no reason to warn.
        self._process.returncode = self._process.returncode or 0

    def is_there(self) -> bool:
        """Whether the guard runs; a warning if it does not."""
        if self._process.poll() is None:
            return True
        logger.warning(
            "the guard process %d is gone: if rendezvous is killed, its command goes on",
            self._process.pid,
        )
        return False

    def announce(self) -> None:
        """Kill the command that calls this, which leads its session, if our process dies."""
        os.write(self._fd, b"%d\n" % os.getpid())

    def watch(self, group: int) -> None:
        """Kill `group` if this process dies; 0: nothing."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._fd, b"%d\n" % group)

    def last_line(self) -> bytes:
        """What the command wrote last to stderr; empty where that is not known."""
        if self.stderr is None:
            return b""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._fd, b"?\n")
        data = self._read_until(_is_whole, _ANSWER_S)
        return data.partition(b"\n")[2] if _is_whole(data) else b""

    def _read_until(self, is_enough: Callable[[bytes], bool], timeout_s: float) -> bytes:
        data, deadline = b"", Deadline.after(timeout_s)
        while not is_enough(data):
            if not select.select([self._answers], [], [], deadline.left_s)[0]:
                break
            more = os.read(self._answers, 4096)
            if not more:
                break
            data += more
        return data


def _is_whole(answer: bytes) -> bool:
    size, newline, line = answer.partition(b"\n")
    return bool(newline) and len(line) >= int(size)


def _is_terminal(fd: int) -> bool:
    try:
        os.fstat(fd)
        return os.isatty(fd)
    except OSError:
        return True  # there is none to copy to


class Command:
    """A running command: leader of a session and a process group."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], guard: Guard) -> None:
        """Start it. Raises CommandError when it cannot be run.

        A session, not only a group: a background group of our terminal would be stopped when it
        reads from it. Descriptors that we were given are passed on; all of our own are close on
        exec.
        """
        self._guard = guard
        try:
            self._process = subprocess.Popen(
                argv,
                env={**environment, _guard.TOKEN_VARIABLE: guard.token},
                stderr=guard.stderr,
                start_new_session=True,
                close_fds=False,
                # Between fork and exec, in the child: so nothing of the command runs before the
                # guard knows its group. One system call, as other threads may hold any lock.
                preexec_fn=guard.announce if guard.is_there() else None,  # noqa: PLW1509
            )
        except FileNotFoundError as error:
            guard.watch(0)
            raise _exit.CommandError(f"cannot run {argv[0]}: {error}", _exit.NOT_FOUND) from error
        except OSError as error:
            guard.watch(0)
            raise _exit.CommandError(
                f"cannot run {argv[0]}: {error}", _exit.NOT_EXECUTABLE
            ) from error

    @property
    def pid(self) -> int:
        """Process id, process group and session of the command."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, 128 + n after signal n; None while it runs."""
        code = self._process.poll()
        return None if code is None else _exit.of_child(code)

    def send(self, signum: int) -> None:
        """Send a signal to the whole group, if anyone is left in it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    def kill(self) -> None:
        """SIGKILL to all that the command has started, also in sessions of their own."""
        _guard.kill(self.pid, self._guard.token)

    def release(self) -> None:
        """Leave alone whatever is still there of the command."""
        self._guard.watch(0)

    def stop(self, grace_s: float, signals: SignalScope) -> list[int]:
        """End all of it: SIGTERM, `grace_s` seconds, SIGKILL. Returns when nobody is left.

        Who has a session of its own is its parent's to end (torchrun ends its workers), and ours
        when that is gone. Returns the signals noted meanwhile. They are not passed on, as the
        command is ending.
        """
        noted: list[int] = []
        self.send(signal.SIGTERM)
        # Nobody who is stopped (SIGTSTP) would see it otherwise.
        self.send(signal.SIGCONT)
        told: set[int] = set()
        deadline = Deadline.after(grace_s)
        while not self._gone() and (left_s := deadline.left_s) > 0:
            leader_runs = self._process.returncode is None
            if not leader_runs:
                orphans = set(self._members()) - told
                _guard.send(list(orphans), signal.SIGTERM)
                told |= orphans
            noted += signals.wait(left_s if leader_runs else min(left_s, _GROUP_POLL_S))
        if not self._gone():
            logger.warning("the command did not end within %g s of SIGTERM: killing it", grace_s)
            self.kill()
            deadline = Deadline.after(_KILL_S)
            while not self._gone() and not deadline.is_over:
                noted += signals.wait(_GROUP_POLL_S)
        self._guard.watch(0)
        return noted

    def _members(self) -> list[int]:
        return _guard.members(self.pid, self._guard.token)

    def _gone(self) -> bool:
        if self._process.poll() is None:
            return False
        # As process 1 of a container we are the parent of every orphan.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0] != 0:
                pass
        return not self._members()
