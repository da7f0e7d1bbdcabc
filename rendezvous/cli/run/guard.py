"""Outlives `rendezvous exec`: kills what its commands left when `exec` was killed, and copies what
they write, of which it keeps the end.

Runs as a process of its own, as a script: `python -I -S guard.py TOKEN OUT FD[:STREAM]...`, so it
imports nothing of ours and starts in 10 ms. Its stdin is a pipe whose only other end `exec` holds.
Each line of it is one of

  +PID    a process of the command has started, as the leader of a session
  0       nothing runs, or what runs shall go on
  =JSON   the next command begins: for each FD the prefix of its lines (null: its bytes are copied
          as they come) and the file that gets them, too (null: none). Without JSON: null for all
  ?ID N   asks for the end of what came by the Nth FD: the answer is ID, a space, its size, a
          newline, the bytes
  !ID     asks whether all that is there has been copied: the answer is ID and a size of 0

The end of file without a line 0 before it means that `exec` died: nobody is left to wait for the
command or to report what became of it, and a new `exec` may start on this machine at once, so all
of it gets SIGKILL. Each FD is the end of a pipe to which a process of the command writes; STREAM,
where it is copied to: 2 (stderr), or 1, which is `exec`'s stdout, here at the descriptor OUT.
Who reads that copy may be slow, and the copying thread then waits; so a second one waits for the
end of `exec`.

Why not a parent-death signal (prctl): it reaches the command itself and not what the command
started (`bash train.sh` dies, the training goes on), it is lost when the command changes its
user, and only Linux has it. What belongs to the command: its process groups and sessions, whatever
has TOKEN in its environment (torchrun's workers, each in a session of its own), and what descends
from those.
"""

import _thread  # threading would take a third of what starting takes
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
# What has no end by then is a line.
_LINE_BYTES_MAX = 1 << 16
# Of what is there, a pipe gives all at once. Who goes on writing shall not be followed for ever.
_READS_MAX = 16
# What SIGKILL does not end by then hangs in the kernel.
_KILL_S = 10.0
_LOOK_S = 0.02


def members(leaders: set[int], token: str) -> list[int]:
    """Who lives of the command that `leaders` were started as; nobody where there is no /proc."""
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
        if not leaders.isdisjoint((int(group), int(session))) or mark in _environment(directory):
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


def kill(leaders: set[int], token: str) -> None:
    """SIGKILL to all of it, until nobody is left: who is forked meanwhile is found next."""
    # Never 1 or below: to killpg those mean "my own group" or nonsense.
    for leader in leaders:
        if leader > 1:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_S
    while (left := members(leaders, token)) and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        time.sleep(_LOOK_S)


class _Copy:
    """Copies what comes by one pipe. The end of who reads the copy is not the command's."""

    def __init__(self, fd: int, out: int) -> None:
        self.fd = fd
        self._out = out
        self._file = -1
        self._path = ""
        self._has_failed = False
        self._prefix: bytes | None = None
        self._line = b""  # that is not whole yet
        self._tail = b""
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
            self._end_line()
            os.close(self.fd)
            self.fd = -1
            return False
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        self._save(data)
        if self._prefix is None:
            _write(self._out, data)
            return True
        # A carriage return ends a line, too: that of a progress bar, which may have no other end.
        lines = (self._line + data).splitlines(keepends=True)
        # One at the very end may have a newline behind it.
        self._line = b"" if lines[-1].endswith(b"\n") else lines.pop()
        _write(self._out, b"".join(self._prefix + line for line in lines))
        if len(self._line) > _LINE_BYTES_MAX:
            self._end_line()
        return True

    def begin(self, prefix: str | None, path: str | None) -> None:
        """Another command: it has said nothing yet."""
        self._end_line()
        self._tail = b""
        self._prefix = None if prefix is None else prefix.encode()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path, self._has_failed = path or "", False
        if path is not None:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            except OSError as error:
                self._complain(error)

    def end(self) -> bytes:
        """Of all that the process has written up to now, what was last."""
        for _ in range(_READS_MAX):
            if not self.some():
                break
        return self._tail

    def _end_line(self) -> None:
        if self._line:
            _write(self._out, b"%b%b\n" % (self._prefix or b"", self._line))
            self._line = b""

    def _save(self, data: bytes) -> None:
        if self._file < 0:
            return
        try:
            _write_all(self._file, data)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            text = f"rendezvous: {self._path} is not complete: {error}\n"
            _write(2, text.encode(errors="replace"))


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        _write_all(fd, data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


class _Orders:
    """What `exec` says. Read by whichever thread has time; what is for copies waits for its own."""

    def __init__(self, copies: list[_Copy], token: str) -> None:
        self._copies = copies
        self._token = token
        self._lock = _thread.allocate_lock()
        self._leaders: set[int] = set()
        self._for_copies: list[bytes] = []
        self._told = b""

    def read(self) -> bool:
        """Some of it, without waiting if there is some; False at its end."""
        with self._lock:
            data = os.read(0, 1 << 16)
            *lines, self._told = (self._told + data).split(b"\n")
            for line in lines:
                if line.startswith(b"+"):
                    self._leaders.add(int(line))
                elif line.startswith((b"=", b"?", b"!")):
                    self._for_copies.append(line)
                else:
                    self._leaders.clear()
            return bool(data)

    def tell_copies(self) -> None:
        """What they were told."""
        while self._for_copies:
            line = self._for_copies.pop(0)
            if line.startswith(b"="):
                for copy, (prefix, path) in zip(self._copies, self._uses(line[1:]), strict=True):
                    copy.begin(prefix, path)
                continue
            number, _, pipe = line[1:].partition(b" ")
            asked = [self._copies[int(pipe)]] if pipe else self._copies
            ends = [copy.end() for copy in asked]
            end = ends[0] if pipe else b""
            _write(1, b"%b %d\n" % (number, len(end)) + end)

    def kill(self) -> None:
        """All of the command that runs."""
        with self._lock:
            if self._leaders:
                kill(self._leaders, self._token)
            self._leaders.clear()

    def mourn(self) -> None:
        """Wait for the end of `exec`, then kill. Of a thread of its own."""
        end = select.poll()
        end.register(0, 0)  # the end is told in any case
        end.poll()
        while self.read():
            pass
        self.kill()

    def _uses(self, text: bytes) -> list[tuple[str | None, str | None]]:
        if not text:
            return [(None, None)] * len(self._copies)
        import json  # a third of what starting takes, and rarely needed

        uses: list[tuple[str | None, str | None]] = json.loads(text)
        return uses


def main(token: str, out: int, *pipes: str) -> None:
    """Follow stdin to its end, then kill the command if it runs, then copy what is left."""
    waiting = select.poll()
    copies = {}
    for text in pipes:
        source, _, stream = text.partition(":")
        copies[int(source)] = _Copy(int(source), out if stream == "1" else 2)
        waiting.register(int(source), select.POLLIN)
    orders = _Orders(list(copies.values()), token)
    waiting.register(0, select.POLLIN)
    _thread.start_new_thread(orders.mourn, ())
    is_open = True
    while is_open or copies:
        ready = [fd for fd, _ in waiting.poll()]
        # Before what is there to copy: a command is announced before it can say anything.
        if 0 in ready:
            is_open = orders.read()
            orders.tell_copies()
        else:
            for fd in ready:
                copies[fd].some()
        if 0 in ready and not is_open:
            waiting.unregister(0)
            orders.kill()
            for copy in copies.values():
                copy.end()
            # Who waits for the end of our work does not wait for what goes on after a success.
            os.close(1)
        for fd in [fd for fd, copy in copies.items() if copy.fd < 0]:
            waiting.unregister(fd)
            del copies[fd]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
