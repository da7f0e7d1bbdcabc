"""Whether this machine is fit to take part: a command or a callable that says so before a join.

Runs on the caller's thread. Knows nothing of a rendezvous.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousUnhealthyError

__all__ = ["HealthCheck", "check_health"]

# A shell's command; or what raises, or returns False or a reason, if the machine is not fit.
HealthCheck: TypeAlias = str | Callable[[], object]

_SHOWN_BYTES = 4096
_LINE_CHARS = 300


def check_health(check: HealthCheck, deadline: Deadline) -> None:
    """Raise RendezvousUnhealthyError, with the reason, unless the check says that all is well.

    A command that has not ended at the deadline is killed; a callable is waited for.
    """
    reason = _run(check, deadline) if isinstance(check, str) else _call(check)
    if reason:
        raise RendezvousUnhealthyError(f"this node does not take part: {reason}", reason=reason)


def _call(check: Callable[[], object]) -> str:
    try:
        answer = check()
    except Exception as error:  # noqa: BLE001  (to raise is a way to say it)
        return f"its health check raised {type(error).__name__}: {error}"
    if isinstance(answer, str) and answer:
        return f"its health check says: {answer}"
    return "its health check returned False" if answer is False else ""


def _run(command: str, deadline: Deadline) -> str:
    # Who has no such check does not pay for importing them.
    import subprocess
    import tempfile

    # A file: who is left of what was killed may hold a pipe for ever.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S602  (it is the user's own)
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(deadline.left_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN_BYTES))
        lines = output.read().decode(errors="replace").split("\n")
    if code == 0:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = f", its last line: {last[:_LINE_CHARS]!r}" if last else ""
    if code is None:
        return f"its health check did not end in time ({deadline.elapsed_text}){said}"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"its health check {how}{said}"
