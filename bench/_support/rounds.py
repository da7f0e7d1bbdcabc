"""A round of many real handlers: threads of a few processes (player.py) that begin together."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from _support.report import Median, Report

PROCESSES = 4
_PLAYER = Path(__file__).parent / "player.py"
# The handlers end by their own timeout; this only turns a hang into a figure that is missing.
_BACKSTOP_S = 60.0
# The last line of a traceback.
_ERROR = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt|Closed)\b")
_ERROR_MAX = 200


@dataclass(frozen=True)
class Round:
    """Seconds from the first handler's begin to the last one's end; or None, and why."""

    seconds: float | None
    why: str = ""


@dataclass
class _Player:
    process: subprocess.Popen[str]
    errors: IO[str]

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has died, which its next line, an empty one, shows
            pass

    def why(self, timeout_s: float) -> str:
        """What its handlers said in the end, in a few words."""
        self.errors.seek(0)
        said = [line for line in self.errors if _ERROR.match(line)]
        if not said:
            return f"a process of handlers ended with exit code {self.process.wait()}"
        if "Timeout" in said[-1].partition(":")[0]:
            return f"it did not come together within {timeout_s:g} s"
        return textwrap.shorten(said[-1], _ERROR_MAX, placeholder=" ...")


def play(
    peer: str, endpoint: str, nodes: int, timeout_s: float, python: str | None = None
) -> Round:
    """One round of that many handlers. `peer` is player.py's, `python` what runs it."""
    shares = [nodes // PROCESSES + (i < nodes % PROCESSES) for i in range(PROCESSES)]
    run_id = uuid.uuid4().hex
    players = [
        _start(
            [python or sys.executable, str(_PLAYER), peer, endpoint, run_id]
            + [str(each) for each in (share, nodes, timeout_s)]
        )
        for share in shares
        if share
    ]

    def give_up() -> None:
        for player in players:
            player.process.kill()

    backstop = threading.Timer(timeout_s + _BACKSTOP_S, give_up)
    backstop.start()
    try:
        return _seconds(players, timeout_s)
    finally:
        backstop.cancel()
        for player in players:
            player.process.kill()
            player.process.communicate()
            player.errors.close()


def _start(words: list[str]) -> _Player:
    errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (the player's)
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    )
    return _Player(process, errors)


def _seconds(players: Sequence[_Player], timeout_s: float) -> Round:
    for player in players:
        if player.line() != "ready":
            return Round(None, player.why(timeout_s))
    for player in players:
        player.tell()
    times = []
    for player in players:
        line = player.line().split()
        if len(line) != 2:
            player.process.kill()
            return Round(None, player.why(timeout_s))
        times.append([float(each) for each in line])
    for player in players:
        player.tell()
    for player in players:
        player.process.wait()
    return Round(max(end for _, end in times) - min(begin for begin, _ in times))


@dataclass(frozen=True)
class Found:
    """The median of each peer that was in time in every run; and why the others are missing."""

    seconds: dict[int, dict[str, Median]]
    missing: dict[int, dict[str, str]]

    def tell_missing(self, report: Report, names: Mapping[str, str]) -> None:
        """One line for each figure that a table does not have."""
        for nodes, peers in self.missing.items():
            for peer, why in peers.items():
                report.note(f"{names[peer]}, {nodes:,}: not measured, {why}.")


def medians(
    peers: Sequence[str],
    sizes: Sequence[int],
    runs: int,
    measure: Callable[[str, int], Round],
    limits: Mapping[str, int] | None = None,
) -> Found:
    """Measure every peer at every size, in turn. One that fails is not asked again, nor one beyond
    its size in `limits`."""
    found = Found({}, {})
    gone: dict[str, str] = {}
    for nodes in sizes:
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        found.missing[nodes] = {}
        asked = []
        for peer in peers:
            most = (limits or {}).get(peer, nodes)
            if peer in gone:
                found.missing[nodes][peer] = gone[peer]
            elif nodes > most:
                found.missing[nodes][peer] = f"asked for up to {most:,} only"
            else:
                asked.append(peer)
        for _ in range(runs):
            for peer in list(asked):
                one = measure(peer, nodes)
                if one.seconds is None:
                    asked.remove(peer)
                    found.missing[nodes][peer] = one.why.rstrip(".")
                    gone[peer] = f"after {nodes:,} it was not asked again"
                else:
                    seconds[peer].append(one.seconds)
        found.seconds[nodes] = {peer: Median(seconds[peer]) for peer in asked}
    return found
