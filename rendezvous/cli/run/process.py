"""The command that `exec` runs: one or more processes, started, signalled and stopped as one.

Only the main thread uses it, with a SignalScope open that includes SIGCHLD, so that the end of
the command wakes `SignalScope.wait`. Knows nothing of rendezvous.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rendezvous._base.deadline import Deadline
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger
from rendezvous.cli.run import guard as _guard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rendezvous.cli.run.guard_client import Guard
    from rendezvous.cli.run.signals import SignalScope

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
            f"cannot run {name}: it is not an executable file", _exit.NOT_EXECUTABLE
        )
    where = "" if os.sep in name else " in PATH"
    raise _exit.CommandError(f"command not found{where}: {name}", _exit.NOT_FOUND)


@dataclass(frozen=True)
class Start:
    """How one process of a command starts. Descriptors; None: as ours."""

    environment: Mapping[str, str]
    stdout: int | None = None
    stderr: int | None = None


class Ending(NamedTuple):
    """How a command has ended.

    code: an exit code, 128 + n after signal n; process: the number of the one that failed first; 0
    where none did.
    """

    code: int
    process: int


class Command:
    """A running command: one or more processes, each the leader of a session and its group."""

    def __init__(self, argv: Sequence[str], starts: Sequence[Start], guard: Guard) -> None:
        """Start it. Raises CommandError when it cannot be run.

        A session, not only a group: a background group of our terminal would be stopped when it
        reads from it. Descriptors that we were given are passed on; all of our own are close on
        exec.
        """
        self._guard = guard
        self._processes: list[subprocess.Popen[bytes]] = []
        self._failure: Ending | None = None
        try:
            for start in starts:
                self._processes.append(self._start(argv, start))
        except OSError as error:
            self.kill()
            self.release()
            code = _exit.NOT_EXECUTABLE
            if isinstance(error, FileNotFoundError):
                code = _exit.NOT_FOUND
            raise _exit.CommandError(f"cannot run {argv[0]}: {error}", code) from error

    def _start(self, argv: Sequence[str], start: Start) -> subprocess.Popen[bytes]:
        guard = self._guard
        return subprocess.Popen(
            argv,
            env={**start.environment, _guard.TOKEN_VARIABLE: guard.token},
            stdout=start.stdout,
            stderr=start.stderr,
            start_new_session=True,
            close_fds=False,
            # Between fork and exec, in the child: so nothing of the command runs before the
            # guard knows its group. One system call, as other threads may hold any lock.
            preexec_fn=guard.announcer(),  # noqa: PLW1509
        )

    @property
    def pids(self) -> list[int]:
        """Process id, process group and session of each process."""
        return [process.pid for process in self._processes]

    def poll(self) -> Ending | None:
        """How it has ended: all with success, or one not; None while it runs."""
        if self._failure is None:
            for index, process in enumerate(self._processes):
                if process.poll():
                    self._failure = Ending(_exit.of_child(process.returncode), index)
                    break
        if self._failure is not None:
            return self._failure
        return None if self._leaders_run() else Ending(0, 0)

    def keep_guard(self) -> None:
        """Replace the guard if it was killed."""
        self._guard.mend(self.pids)

    def send(self, signum: int) -> None:
        """Send a signal to all of the groups, as far as anyone is left in them."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signum)

    def kill(self) -> None:
        """SIGKILL to all that the command has started, also in sessions of their own."""
        _guard.kill(set(self.pids), self._guard.token)

    def release(self) -> None:
        """Leave alone whatever is still there of the command."""
        self._guard.release()

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
            leaders_run = self._leaders_run()
            if not leaders_run:
                orphans = set(self._members()) - told
                _guard.send(list(orphans), signal.SIGTERM)
                told |= orphans
            noted += signals.wait(left_s if leaders_run else min(left_s, _GROUP_POLL_S))
        if not self._gone():
            logger.warning("the command did not end within %g s of SIGTERM: killing it", grace_s)
            self.kill()
            deadline = Deadline.after(_KILL_S)
            while not self._gone() and not deadline.is_over:
                noted += signals.wait(_GROUP_POLL_S)
        self.release()
        return noted

    def _leaders_run(self) -> bool:
        # All are asked: who has ended is to be reaped.
        return None in [process.poll() for process in self._processes]

    def _members(self) -> list[int]:
        return _guard.members(set(self.pids), self._guard.token)

    def _gone(self) -> bool:
        if self._leaders_run():
            return False
        # As process 1 of a container we are the parent of every orphan.
        for pid in self.pids:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-pid, os.WNOHANG)[0] != 0:
                    pass
        return not self._members()
