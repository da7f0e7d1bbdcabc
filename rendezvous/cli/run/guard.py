"""Outlives `rendezvous exec`: kills what its command left when `exec` was killed, and copies the
command's stderr, of which it keeps the last line.

Runs as a process of its own, as a script: `python -I -S guard.py TOKEN FD`, so it imports nothing
of ours and starts in 10 ms. Its stdin is a pipe whose only other end `exec` holds. Each line is the
command that runs, by its process id (0: none), or `?`, which asks for the last line. The end of
file without a line 0 before it means that `exec` died: nobody is left to wait for the command or to
report what became of it, and a new `exec` may start on this machine at once, so all of it gets
SIGKILL. FD is the end of a pipe to which the command writes its stderr, or -1.

Why not a parent-death signal (prctl): it reaches the command itself and not what the command
started (`bash train.sh` dies, the training goes on), it is lost when the command changes its
user, and only Linux has it. What belongs to the command: its process group and session, whatever
has TOKEN in its environment (torchrun's workers, each in a session of its own), and what descends
from those.
"""

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

TOKEN_VARIABLE = "RENDEZVOUS_EXEC"  # noqa: S105  (its name)
_PROC = Path("/proc")
_TAIL_BYTES = 4096
_LAST_LINE_BYTES = 512
# What SIGKILL does not end by then hangs in the kernel.
_KILL_S = 10.0
_LOOK_S = 0.02


def members(leader: int, token: str) -> list[int]:
    """Who lives of the command that `leader` was started as; nobody where there is no /proc."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    found: list[int] = []
    for directory in _PROC.iterdir() if _PROC.is_dir() else ():
        if not directory.name.isdigit():
            continue
        pid = int(directory.name)
        try:
            stat = (directory / "stat").read_bytes()
        except OSError:
            continue  # it has just ended
        # The name in parentheses may contain anything, so count from behind it.
        state, parent, group, session = stat.rpartition(b")")[2].split()[:4]
        children.setdefault(int(parent), []).append(pid)
        # Zombies are there until process 1 reaps them, which in a container may be never.
        if state in b"ZX":
            continue
        living.add(pid)
        if leader in (int(group), int(session)) or mark in _environment(directory):
            found.append(pid)
    seen = set(found)
    for pid in found:
        found += [child for child in children.get(pid, []) if child not in seen]
        seen.update(children.get(pid, []))
    return [pid for pid in found if pid in living and pid != os.getpid()]


def _environment(directory: Path) -> list[bytes]:
    try:
        return (directory / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # another user's


def send(pids: list[int], signum: int) -> None:
    """Whoever is gone by now does not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def kill(leader: int, token: str) -> None:
    """SIGKILL to all of it, until nobody is left: who is forked meanwhile is found next."""
    # Never 1 or below: to killpg those mean "my own group" or nonsense.
    if leader > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_S
    while (left := members(leader, token)) and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        time.sleep(_LOOK_S)


class _Copy:
    """Copies the command's stderr to ours. The end of who reads ours is not the command's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._tail = b""
        if fd >= 0:
            os.set_blocking(fd, False)

    def some(self) -> bool:
        """What is there now, or a part of it. False: nothing is."""
        if self.fd < 0:
            return False
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            os.close(self.fd)
            self.fd = -1
            return False
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(2, data) :]
        return True

    def begin(self) -> None:
        """Another command: it has said nothing yet."""
        self._tail = b""

    def last_line(self) -> bytes:
        """Of all that the command has written up to now."""
        while self.some():
            pass
        lines = [line.strip() for line in self._tail.splitlines() if line.strip()]
        return lines[-1][-_LAST_LINE_BYTES:] if lines else b""


def main(token: str, fd: int) -> None:
    """Follow stdin to its end, then kill the command last named, then copy what is left."""
    copy = _Copy(fd)
    group, told, is_open = 0, b"", True
    while is_open or copy.fd >= 0:
        watched = [each for each in (0 if is_open else -1, copy.fd) if each >= 0]
        ready = select.select(watched, [], [])[0]
        if not is_open or 0 not in ready:
            copy.some()
            continue
        # Before what is there to copy: a command is announced before it can say anything.
        data = os.read(0, 4096)
        *lines, told = (told + data).split(b"\n")
        for line in lines:
            if line == b"?":
                last = copy.last_line()
                os.write(1, b"%d\n" % len(last) + last)
            else:
                group = int(line)
                if group > 0:
                    copy.begin()
        if not data:
            if group > 1:
                kill(group, token)
            copy.last_line()
            # Who waits for the end of our work does not wait for what goes on after a success.
            os.close(1)
            is_open = False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
