"""The command that `exec` runs: a process group of its own, started, signalled and stopped as one.

Only the main thread uses it, with a SignalScope open that includes SIGCHLD, so that the end of
the command wakes `SignalScope.wait`. Knows nothing of rendezvous.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rendezvous.cli import _exit
from rendezvous.cli._logging import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from rendezvous.cli._signals import SignalScope

# Nothing tells that a group is empty once its leader is gone, so this one is asked for.
_GROUP_POLL_S = 0.05
# What SIGKILL does not end by then hangs in the kernel (a dead file server): go on without it.
_KILL_S = 10.0


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
    """The process that kills the command's group if this process is killed. See _guard.py."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("_guard.py")
        # A session of its own: a signal to our group, Ctrl-C included, is not for it. No stdout or
        # stderr: who waits for the end of our output must not wait for the guard.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._fd = self._process.stdin.fileno()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It reads the end of file; the last group it was told decides whether it kills.
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

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
        """Kill the group of the process that calls this, which leads it, if our process dies."""
        os.write(self._fd, b"%d\n" % os.getpid())

    def watch(self, group: int) -> None:
        """Kill `group` if this process dies; 0: nothing."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._fd, b"%d\n" % group)


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
                env=environment,
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

    def release(self) -> None:
        """Leave alone whatever is still there of the group."""
        self._guard.watch(0)

    def stop(self, grace_s: float, signals: SignalScope) -> list[int]:
        """End the whole group: SIGTERM, `grace_s` seconds, SIGKILL. Returns when it is empty.

        Returns the signals noted meanwhile. They are not passed on, as the command is ending.
        """
        noted: list[int] = []
        self.send(signal.SIGTERM)
        # Nobody who is stopped (SIGTSTP) would see it otherwise.
        self.send(signal.SIGCONT)
        deadline = time.monotonic() + grace_s
        while not self._gone() and (left_s := deadline - time.monotonic()) > 0:
            leader_runs = self._process.returncode is None
            noted += signals.wait(left_s if leader_runs else min(left_s, _GROUP_POLL_S))
        if not self._gone():
            logger.warning("the command did not end within %g s of SIGTERM: killing it", grace_s)
            self.send(signal.SIGKILL)
            deadline = time.monotonic() + _KILL_S
            while not self._gone() and time.monotonic() < deadline:
                noted += signals.wait(_GROUP_POLL_S)
        self._guard.watch(0)
        return noted

    def _gone(self) -> bool:
        if self._process.poll() is None:
            return False
        # As process 1 of a container we are the parent of every orphan.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0] != 0:
                pass
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return not _has_live_member(self.pid)


def _has_live_member(group: int) -> bool:
    """Whether anyone in the group runs. Zombies are in it until process 1 reaps them, which in a
    container may be never."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                stat = (directory / "stat").read_text(errors="replace")
            except OSError:
                # It has just ended.
                continue
            # The name in parentheses may contain anything, so count from behind it.
            state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
