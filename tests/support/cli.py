"""Runs the command `rendezvous` as its users do: real processes, ended by process id.

Waiting is for lines, files and ends of processes. BACKSTOP_S only turns a hang into a failure.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

BACKSTOP_S = 120.0
# How a test's processes may speak to each other: conftest.py says it, by the one or the other.
_WHO_MAY_SPEAK = ("RENDEZVOUS_INSECURE", "RENDEZVOUS_TOKEN_FILE")
_T = TypeVar("_T")

# The command of exec: writes its environment to DIRECTORY as one file that appears complete, then
# waits until the file `stop` appears there, whose content is the exit code.
REPORT = """\
import json, os, sys, time
directory = sys.argv[1]
name = os.path.join(directory, "report-%s-%s-%d" % (
    os.environ["RENDEZVOUS_ROUND"], os.environ["RANK"], os.getpid()))
with open(name + ".part", "w") as out:
    json.dump({"pid": os.getpid(), "parent": os.getppid(), "env": dict(os.environ)}, out)
os.rename(name + ".part", name + ".json")
stop = os.path.join(directory, "stop")
while not os.path.exists(stop):
    time.sleep(0.05)
sys.exit(int(open(stop).read() or 0))
"""


_MANAGERS = (
    *("SLURM_", "LSB_", "PBS_", "FLUX_", "AWS_BATCH_", "JOB_COMPLETION_INDEX"),
    *("OMPI_", "PMI_", "PMIX_", "MPI_", "PET_", "JAX_"),
)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what launchers and users set for what they run."""
    ours = ("RENDEZVOUS_", "TORCHELASTIC", *_MANAGERS)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) or k in _WHO_MAY_SPEAK}
    return kept | changes


def wait_for(what: str, look: Callable[[], _T | None]) -> _T:
    """The first result of `look` that is true. For files, which give no event."""
    deadline = time.monotonic() + BACKSTOP_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {BACKSTOP_S} s")


def free_port() -> int:
    """A port that is free now. Between runs of a test the kernel hands out others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A running `rendezvous ...`, whose output is collected while it runs.

    before: a command that takes the rest as its arguments, and becomes it.
    """

    def __init__(
        self, arguments: Sequence[str], cwd: Path, *, before: Sequence[str] = (), **env: str
    ) -> None:
        self.arguments = list(arguments)
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "rendezvous", *arguments],
            cwd=cwd,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._changed = threading.Condition()
        self._text = {"stdout": "", "stderr": ""}
        self._threads = [
            threading.Thread(target=self._read, args=(name,), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str) -> None:
        for line in getattr(self.process, name):
            with self._changed:
                self._text[name] += line.decode(errors="replace")
                self._changed.notify_all()

    @property
    def stdout(self) -> str:
        return self._text["stdout"]

    @property
    def stderr(self) -> str:
        return self._text["stderr"]

    def line(self, part: str, stream: str = "stderr") -> str:
        """The first line that contains `part`, waited for."""
        deadline = time.monotonic() + BACKSTOP_S
        with self._changed:
            while True:
                for line in self._text[stream].splitlines():
                    if part in line:
                        return line
                if not any(t.is_alive() for t in self._threads) or time.monotonic() > deadline:
                    raise AssertionError(f"{self.arguments}: no line with {part!r}\n{self._text}")
                self._changed.wait(0.5)

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def end(self) -> int:
        """The exit code, waited for, with all output read."""
        try:
            code = self.process.wait(BACKSTOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.arguments} does not end\n{self._text}") from None
        for thread in self._threads:
            thread.join(BACKSTOP_S)
        return code

    def close(self) -> None:
        """Kill it if it still runs. The guard of exec then kills its command."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for thread in self._threads:
            # A process that should have died with it may hold the pipe: no reason to hang too.
            thread.join(BACKSTOP_S / 10)
        for thread, stream in zip(
            self._threads, (self.process.stdout, self.process.stderr), strict=True
        ):
            if stream is not None and not thread.is_alive():
                stream.close()


class Cli:
    """Starts commands in a directory without our sources, and ends all that were left running."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self._running: list[Running] = []

    def start(self, *arguments: str, before: Sequence[str] = (), **env: str) -> Running:
        running = Running(arguments, self.cwd, before=before, **env)
        self._running.append(running)
        return running

    def run(
        self, *arguments: str, stdin: bytes = b"", **env: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "rendezvous", *arguments],
            cwd=self.cwd,
            env=environment(**env),
            input=stdin,
            capture_output=True,
            timeout=BACKSTOP_S,
            check=False,
        )

    def serve(self) -> tuple[Running, str]:
        """A server on a free port, ready, and its endpoint."""
        server = self.start("serve", "--port", "0")
        return server, server.line("listening on").split()[-1]

    def start_exec(self, endpoint: str, nodes: str, *words: str, **env: str) -> Running:
        """`exec` with short times; `words` are more options, `--`, and the command."""
        return self.start("exec", "--endpoint", endpoint, "--nodes", nodes, *words, **env)

    def close(self) -> None:
        for running in self._running:
            running.close()


@contextmanager
def cli_in(directory: Path) -> Iterator[Cli]:
    cli = Cli(directory)
    try:
        yield cli
    finally:
        cli.close()


def report_command(directory: Path) -> list[str]:
    """`-- COMMAND` that reports to `directory`."""
    return ["--", sys.executable, "-I", "-S", "-c", REPORT, str(directory)]


def reports(directory: Path) -> list[dict[str, Any]]:
    """All reports that are there."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("report-*.json"))]


def reports_of_round(directory: Path, count: int, after: int = 0) -> list[dict[str, Any]]:
    """The reports of the first round later than `after` from which `count` ranks have reported."""

    def look() -> list[dict[str, Any]] | None:
        by_round: dict[int, list[dict[str, Any]]] = {}
        for report in reports(directory):
            by_round.setdefault(int(report["env"]["RENDEZVOUS_ROUND"]), []).append(report)
        for number, found in sorted(by_round.items()):
            if number > after and {int(r["env"]["RANK"]) for r in found} == set(range(count)):
                return found
        return None

    return wait_for(f"a round of {count} after round {after}", look)


def stop(directory: Path, code: int = 0) -> None:
    """Let the reporting commands end with `code`."""
    part = directory / "stop.part"
    part.write_text(str(code))
    part.rename(directory / "stop")
