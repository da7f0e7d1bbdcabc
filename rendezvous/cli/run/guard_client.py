"""The guard process as `exec` sees it: started once, told of commands, asked what was said last.

What it does is guard.py's. Only the main thread uses it, and children between fork and exec.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous.cli.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = ["Guard"]

# What SIGKILL does not end by then hangs in the kernel (a dead file server): go on without it.
_KILL_S = 10.0
# For an answer of the guard, which may wait for who reads our stderr.
_ANSWER_S = 2.0


class Guard:
    """The process that kills the command if this process is killed, and copies what the command
    writes. See guard.py.

    Args:
        streams: for each pipe that it shall copy, where to: 1, our stdout, or 2, our stderr.

    Attributes:
        token: marks what belongs to our commands.
        pipes: the ends to which the command writes.
    """

    def __init__(self, streams: Sequence[int] = ()) -> None:
        self.token = f"{os.getpid()}-{os.urandom(8).hex()}"
        self.pipes: list[int] = []
        self._streams = tuple(streams)
        # Kept open here, too: if the guard is killed, the pipes do not break, and another one reads
        # on.
        self._read_fds: list[int] = []
        for _ in streams:
            read_fd, write_fd = os.pipe()
            self._read_fds.append(read_fd)
            self.pipes.append(write_fd)
        self._uses = b"="
        self._is_lost = False
        self._asked = 0
        self._has_begun = False
        self._is_replaced = False
        self._start()

    def _start(self) -> None:
        """Raises OSError."""
        streams = self._streams
        # Its own stdout is for answers: who waits for the end of our output must not wait for it.
        out = os.dup(1) if 1 in streams else -1
        script = Path(__file__).with_name("guard.py")
        words = [f"{fd}:{stream}" for fd, stream in zip(self._read_fds, streams, strict=True)]
        try:
            # A session of its own: a signal to our group, Ctrl-C included, is not for it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), self.token, str(out), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if streams else subprocess.DEVNULL,
                pass_fds=[*self._read_fds, *([out] if out >= 0 else [])],
                start_new_session=True,
            )
        finally:
            if out >= 0:
                os.close(out)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._fd = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        self._listening = select.poll()
        self._listening.register(self._answers, select.POLLIN)
        self._heard = b""

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
        for fd in (*self.pipes, *self._read_fds):
            os.close(fd)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        deadline = Deadline.after(_KILL_S)
        while self._hear(deadline):
            pass
        self._process.stdout.close()
        self._process.poll()
        # Not waited for, and no reason to warn.
        self._process.returncode = self._process.returncode or 0

    def mend(self, leaders: Sequence[int] = ()) -> bool:
        """Whether the guard runs. One that was killed is replaced, and told of what runs; if that
        is impossible, a warning says so, once.
        """
        if self._process.poll() is None:
            return True
        if self._is_lost:
            return False
        old = self._process
        try:
            self._start()
        except OSError as error:
            self._is_lost = True
            logger.warning(
                "the guard process %d is gone, and no other can be started (%s): if rendezvous is "
                "killed, its command goes on",
                old.pid,
                error,
            )
            return False
        self._is_replaced = True
        for pipe in (old.stdin, old.stdout):
            if pipe is not None:
                pipe.close()
        logger.warning("the guard process %d is gone; another one takes its place", old.pid)
        self._tell(b"\n".join([self._uses, *(b"+%d" % leader for leader in leaders)]))
        return True

    def announcer(self) -> Callable[[], None] | None:
        """`announce`, if a guard runs."""
        return self.announce if self.mend() else None

    def begin(self, uses: Sequence[tuple[str | None, str | None]]) -> None:
        """Another command will write: for each pipe, the prefix of its lines, and a file."""
        if self._has_begun and self.pipes:
            # What the last one has said is not this one's.
            self._ask(b"!")
        self._has_begun = True
        self._is_replaced = False
        is_plain = all(use == (None, None) for use in uses)
        self._uses = b"=" if is_plain else b"=" + json.dumps(list(uses)).encode()
        self._tell(self._uses)

    def announce(self) -> None:
        """Kill the process that calls this, which leads its session, if our process dies."""
        os.write(self._fd, b"+%d\n" % os.getpid())

    def release(self) -> None:
        """Nothing runs any more, or what runs shall go on."""
        self._tell(b"0")

    def last_words(self, pipe: int) -> bytes | None:
        """What came last by the pipe of this number; None: that is not known."""
        words = self._ask(b"?", pipe)
        # What its predecessor has copied, a new guard does not know.
        return None if self._is_replaced and not words else words

    def _ask(self, what: bytes, *more: int) -> bytes | None:
        """The answer; None: there is none in time."""
        self._asked += 1
        self._tell(what + b" ".join(b"%d" % number for number in (self._asked, *more)))
        deadline = Deadline.after(_ANSWER_S)
        while True:
            answer = self._next_answer()
            if answer is None:
                if not self._hear(deadline):
                    return None
            elif answer[0] == self._asked:  # and not one that came too late
                return answer[1]

    def _tell(self, line: bytes) -> None:
        data = line + b"\n"
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]

    def _next_answer(self) -> tuple[int, bytes] | None:
        """Its number and its words, cut off from what was heard; None: it is not whole yet."""
        head, newline, rest = self._heard.partition(b"\n")
        if not newline:
            return None
        number, size = map(int, head.split())
        if len(rest) < size:
            return None
        self._heard = rest[size:]
        return number, rest[:size]

    def _hear(self, deadline: Deadline) -> bool:
        """More of what the guard says; False: there is none before the deadline, or ever."""
        if not self._listening.poll(deadline.left_s * 1000):
            return False
        more = os.read(self._answers, 8192)
        self._heard += more
        return bool(more)
