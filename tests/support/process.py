"""Python processes that a test starts, talks to by lines, signals, and always ends, by pid."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from support.background import BACKSTOP_S

SERVER = """\
import sys
from rendezvous import Server
with Server(sys.argv[1], int(sys.argv[2])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""

_Self = TypeVar("_Self", bound="PythonProcess")


class PythonProcess:
    """Runs `code`. Lines that it prints are read with line(); its stdin ends when it is closed.

    before: a command that takes the interpreter's command line as its arguments, and becomes it.
    """

    def __init__(self, code: str, *args: str, before: Sequence[str] = (), **env: str) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-c", code, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",  # not our sources: the installed package is what is tested
            env=os.environ | env,
        )
        self.stderr = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._read_out, self._read_err)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_err(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.stderr += line

    def line(self) -> str:
        """The next line that it prints."""
        try:
            line = self._lines.get(timeout=BACKSTOP_S)
        except queue.Empty:
            raise AssertionError(f"no line within {BACKSTOP_S} s: {self.stderr}") from None
        assert line is not None, f"it ended without a further line: {self.stderr}"
        return line

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP, and wait until it has stopped."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self) -> int:
        """Its exit code (negative: the signal that ended it), waited for."""
        try:
            code = self._process.wait(BACKSTOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end within {BACKSTOP_S} s: {self.stderr}") from None
        for reader in self._readers:
            reader.join(BACKSTOP_S)
        return code

    def kill(self) -> None:
        """End it at once, also while it is stopped."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for reader in self._readers:
            reader.join(BACKSTOP_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ServerProcess(PythonProcess):
    """A store server in a process of its own; ready, at `port`, once constructed."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(SERVER, host, str(port))
        try:
            self.port = int(self.line())
        except BaseException:
            self.close()
            raise
