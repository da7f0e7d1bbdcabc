"""What `serve` says of rounds that form: who came, and that nobody comes any more. Pure.

The server itself logs rounds that are complete, and nodes that were lost.
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from typing import Any

from rendezvous._base.host_names import count_names
from rendezvous._base.text import counted, node_text
from rendezvous.cli.look.dump import run_name

__all__ = ["LOOK_S", "RunLog"]

# Between two looks.
LOOK_S = 5.0
# Nobody came for so long: said once, and again after twice the time, up to the longest.
_STUCK_S = 30.0
_STUCK_MAX_S = 900.0
_NAMES_MAX = 16


@dataclass
class _Forming:
    """A round as it was when somebody came last."""

    round: int
    participants: int
    since_s: float
    told_after_s: float = _STUCK_S


class RunLog:
    """Lines of the log, made of one report after another.

    Attributes:
        after: the last event that was seen: what the next report is asked for.
    """

    def __init__(self) -> None:
        self.after = 0
        self._forming: dict[tuple[str, str], _Forming] = {}

    def lines(self, report: dict[str, Any]) -> list[tuple[int, str]]:
        """With their levels. `report`: of `Server.report(after)`."""
        self.after = report["serial"]
        now_s: float = report["monotonic_s"]
        found: list[tuple[int, str]] = []
        before, self._forming = self._forming, {}
        for run in report["runs"]:
            if run["complete"] or run["closed"] or run["failed"] or not run["participants"]:
                continue
            key = run["space"], run["run_id"]
            forming = before.get(key)
            now = run["round"], run["participants"]
            if forming is None or (forming.round, forming.participants) != now:
                forming = _Forming(*now, now_s)
            self._forming[key] = forming
            found += _joined(run)
            found += _stuck(run, forming, now_s)
        return found


def _standing(run: dict[str, Any]) -> str:
    verb = "has" if run["participants"] == 1 else "have"
    least = f"{run['participants']} of at least {counted(run['min_nodes'], 'node')} {verb} joined"
    return f"{run_name(run)}: round {run['round']}: {least}"


def _joined(run: dict[str, Any]) -> list[tuple[int, str]]:
    nodes = [
        node
        for _, _, kind, round_number, _, _, node, _ in run["events"]
        if kind == "joined" and round_number == run["round"] and node is not None
    ]
    if not nodes:
        return []
    if len(nodes) <= _NAMES_MAX:
        names = ", ".join(map(node_text, nodes))
    else:
        names = count_names(node.addr for node in nodes)
    return [(logging.INFO, f"{_standing(run)}; new: {names}")]


def _stuck(run: dict[str, Any], forming: _Forming, now_s: float) -> list[tuple[int, str]]:
    waited_s = now_s - forming.since_s
    if run["participants"] >= run["min_nodes"] or waited_s < forming.told_after_s:
        return []
    forming.told_after_s = waited_s + min(waited_s, _STUCK_MAX_S)
    line = f"{_standing(run)}, and nobody has come for {waited_s:.0f} s"
    # Whoever joins names the run, and others paste what is here into a shell.
    if run["run_id"].isprintable():
        line += f"; who is missing is said by: rendezvous status {shlex.quote(run['run_id'])}"
    return [(logging.WARNING, line)]
