"""Whether this machine is fit to take part: a command or a callable that says so before a join.

Runs on the caller's thread. Knows nothing of a rendezvous.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousUnhealthyError
from rendezvous._base.exit_codes import DO_NOT_RESTART

if TYPE_CHECKING:
    import subprocess

__all__ = ["HealthCheck", "Keeper", "check_health", "end_health_checks", "keep_health_checks"]

# A shell's command; or what raises, or returns False or a reason, if the machine is not fit.
HealthCheck: TypeAlias = str | Callable[[], object]

_SHOWN_BYTES = 4096
_LINE_CHARS = 300
# Nothing tells that a process has ended while another one holds its pipe.
_LOOK_S = 0.05
# The commands that run, by process.
_running: set[int] = set()


class Keeper(NamedTuple):
    """Who kills a command if this process is killed.

    Attributes:
        begin: returns what the command's process calls before it runs anything; None: nothing.
        end: called when it has ended.
        environment: what its processes are known by.
    """

    begin: Callable[[], Callable[[], None] | None] = lambda: None
    end: Callable[[], None] = lambda: None
    environment: Mapping[str, str] = MappingProxyType({})


_keeper = Keeper()


def keep_health_checks(keeper: Keeper) -> None:
    """From now on; for a process that has somebody who outlives it."""
    global _keeper
    _keeper = keeper


def check_health(check: HealthCheck, deadline: Deadline) -> None:
    """Raise RendezvousUnhealthyError, with the reason, unless the check says that all is well.

    For the whole run, and for good: if a command ends with exit code 93, or a callable raises a
    RendezvousUnhealthyError that says so.
    A command that has not ended at the deadline is killed; a callable is waited for.
    """
    reason, is_final = _run(check, deadline) if isinstance(check, str) else _call(check)
    if reason:
        text = f"this node does not take part: {reason}"
        raise RendezvousUnhealthyError(text, reason=reason, do_not_restart=is_final)


def end_health_checks() -> None:
    """Kill the commands that run, for a process that ends without waiting for its threads."""
    for pid in tuple(_running):
        _kill(pid)


def _call(check: Callable[[], object]) -> tuple[str, bool]:
    """What is wrong, if anything, and whether that is final."""
    try:
        answer = check()
    except RendezvousUnhealthyError as error:
        return f"its health check says: {error.reason or error}", error.do_not_restart
    except Exception as error:  # noqa: BLE001  (to raise is a way to say it)
        return f"its health check raised {type(error).__name__}: {error}", False
    return _reason_of(answer), False


def _reason_of(answer: object) -> str:
    if isinstance(answer, str) and answer:
        return f"its health check says: {answer}"
    if answer is None or answer is True or answer == "":
        return ""
    if answer is False:
        return "its health check returned False"
    # An exit code, or a bool of numpy's: who takes that for a yes runs on a broken machine.
    return f"its health check returned {answer!r}, and not True, False, None or a reason"


def _run(command: str, deadline: Deadline) -> tuple[str, bool]:
    """As `_call`."""
    # Who has no such check does not pay for importing it.
    import subprocess

    keeper = _keeper
    read_fd, write_fd = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S602  (it is the user's own)
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=write_fd,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **keeper.environment},
            preexec_fn=keeper.begin(),  # noqa: PLW1509  (one system call)
        )
    except (OSError, ValueError) as error:
        os.close(read_fd)
        return f"its health check cannot be run: {error}", False
    finally:
        os.close(write_fd)
    _running.add(process.pid)
    try:
        end = _follow(process, read_fd, deadline)
    finally:
        if process.poll() is None:
            _kill(process.pid)
            process.wait()
        _running.discard(process.pid)
        keeper.end()
        os.close(read_fd)
    code = process.returncode if end.has_ended else None
    if code == 0:
        return "", False
    lines = end.words.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = f", its last line: {last[:_LINE_CHARS]!r}" if last else ""
    if code is None:
        return f"its health check did not end in time ({deadline.elapsed_text}){said}", False
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"its health check {how}{said}", code == DO_NOT_RESTART


class _End(NamedTuple):
    has_ended: bool
    words: bytes  # the last that it wrote


def _follow(process: subprocess.Popen[bytes], fd: int, deadline: Deadline) -> _End:
    """Read what the command writes, which may be much, until it ends or time is over.

    Not to the end of the pipe: who is left of the command may hold it for ever.
    """
    os.set_blocking(fd, False)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    words, is_open = b"", True
    while True:
        has_ended = process.poll() is not None
        is_over = has_ended or deadline.is_over
        if not is_open:
            deadline.sleep(0.0 if is_over else _LOOK_S)
        elif poll.poll(0 if is_over else deadline.sooner(_LOOK_S).left_s * 1000):
            with suppress(BlockingIOError):
                data = os.read(fd, 1 << 20)
                is_open = bool(data)
                words = (words + data)[-_SHOWN_BYTES:]
        if is_over:
            return _End(has_ended, words)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
