"""Runs one command and ends it when the process that wanted it ends, however that ends.

    python guard.py PARENT_PID COMMAND...

A program of its own, started by server.py by path: imports nothing of ours. It prints the command's
process id, and ends the command on the end of its standard input, on SIGTERM and SIGINT, and when
the parent dies. The parent is watched as a process (a pidfd), because the kernel's parent-death
signal comes already when the *thread* that started a child ends, and the input alone stays open as
long as any fork of the parent holds it. Killed itself, it takes the command along by that signal:
it has one thread only, so that here the signal means what it says.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1
PATIENCE_S = 5.0
# Where there are no pidfds: how often the parent is looked for.
_LOOK_S = 0.5


def _die_with_guard() -> None:
    """In the child, before it becomes the command; safe, as the guard has one thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _wait_for_reason(parent: int, wake: int, child: "subprocess.Popen[bytes]") -> None:
    """Until the parent has ended or wants an end, or the child has ended."""
    watched = [sys.stdin.fileno(), wake]
    parent_fd = _pidfd(parent)
    if parent_fd is not None:
        watched.append(parent_fd)
    while child.poll() is None and os.getppid() == parent:
        ready, _, _ = select.select(watched, [], [], None if parent_fd is not None else _LOOK_S)
        if parent_fd in ready or (sys.stdin.fileno() in ready and not os.read(0, 1)):
            return
        if wake in ready and any(number != signal.SIGCHLD for number in os.read(wake, 64)):
            return


def _main(parent: int, command: list[str]) -> int:
    wake, signalled = os.pipe()
    for fd in (wake, signalled):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(signalled)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(  # noqa: S603  (the command is our parent's)
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=_die_with_guard,  # noqa: PLW1509  (one thread)
    )
    print(child.pid, flush=True)  # noqa: T201  (this is the answer)
    _wait_for_reason(parent, wake, child)
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return abs(child.wait())


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2:]))
