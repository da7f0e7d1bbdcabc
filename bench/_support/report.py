"""What a benchmark found: tables on the terminal, and, with --json, figures for RESULTS.md.

Every figure is a median of runs in turn: one run of each peer, then the next, so that a busy moment
meets them all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import rendezvous

_Key = TypeVar("_Key")
Cell = str | float | None


def machine() -> str:
    """What a figure depends on, in a line."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux "
        f"{platform.release()}, Python {platform.python_version()}, rendezvous "
        f"{rendezvous.__version__}"
    )


class Median(float):
    """The median of runs in turn, which remembers them.

    What is measured in turn is compared run by run (`ratio`), and one whose runs were far apart
    is shown with how far: a machine may become twice as fast while it is measured.
    """

    runs: tuple[float, ...]

    def __new__(cls, runs: Sequence[float]) -> Median:
        """Of at least one run."""
        self = super().__new__(cls, statistics.median(runs))
        self.runs = tuple(runs)
        return self

    def is_wide(self) -> bool:
        """Whether the reader is to be warned."""
        return max(self.runs) > _WIDE * min(self.runs)


# Beyond that, the slowest run over the fastest, a median does not speak for all.
_WIDE = 1.5
WIDE_MEANS = (
    "A figure with (lowest..highest) beside it is the median of runs that were more than "
    f"{_WIDE:g} x apart: the machine was busy, or changed its speed. Ratios are medians of each "
    "run's ratio."
)


def shown(cell: Cell) -> str:
    """A figure with three digits that count; the range of its runs, where that is wide."""
    if isinstance(cell, Median) and cell.is_wide():
        low, high = min(cell.runs), max(cell.runs)
        return f"{shown(float(cell))} ({shown(low)}..{shown(high)})"
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if cell == 0:
        return "0"
    magnitude = abs(cell)
    if magnitude >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}" if magnitude >= 0.01 else f"{cell:.2g}"


def alternating(
    runs: int, measures: Mapping[_Key, Callable[[], Mapping[str, float]]]
) -> dict[_Key, dict[str, Median]]:
    """Measure each in turn, `runs` times; for each the median of every figure."""
    found: dict[_Key, list[Mapping[str, float]]] = {key: [] for key in measures}
    for _ in range(runs):
        for key, measure in measures.items():
            found[key].append(measure())
    return {
        key: {name: Median([run[name] for run in each]) for name in each[0]}
        for key, each in found.items()
    }


class Report:
    """One benchmark's tables, figures and lines."""

    def __init__(self, doc: str | None, options: argparse.Namespace) -> None:
        self.title = str(doc).strip().splitlines()[0]
        self._json: Path | None = options.json
        self._blocks: list[str] = []
        self._figures: dict[str, float] = {}
        self._plots: dict[str, dict[str, object]] = {}
        print(f"{self.title}\n{machine()}\n", flush=True)

    def table(self, caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table, its first column the names of the rows."""
        cells = [list(header), *([shown(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        print(caption)
        for row in cells:
            first, *others = (
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            print("  " + "  ".join([first, *others]), flush=True)
        print(flush=True)
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        lines.insert(1, "|---|" + "---:|" * (len(header) - 1))
        self._blocks.append(caption + "\n\n" + "\n".join(lines))

    def note(self, text: str) -> None:
        """A line of text below the tables so far."""
        print(text + "\n", flush=True)
        self._blocks.append(text)

    def left_out(self, peers: Mapping[str, str]) -> None:
        """Say which peers are missing, and why."""
        for peer, why in peers.items():
            self.note(f"Left out: {peer} ({why}).")

    def figure(self, name: str, value: float | None) -> None:
        """A figure that the table of targets may look up."""
        if value is not None:
            self._figures[name] = value

    def plot(
        self, name: str, title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]
    ) -> None:
        """Time against N, both logarithmic."""
        self._plots[name] = {
            "title": title,
            "unit": unit,
            "series": {peer: list(points) for peer, points in series.items() if points},
        }

    def finish(self) -> None:
        """Write what --json asked for."""
        if any(".." in block for block in self._blocks):
            print(WIDE_MEANS + "\n", flush=True)
        if self._json is None:
            return
        found = {
            "title": self.title,
            "blocks": self._blocks,
            "figures": self._figures,
            "plots": self._plots,
        }
        self._json.write_text(json.dumps(found))


def arguments(doc: str | None, runs: int = 5) -> argparse.ArgumentParser:
    """--runs, --short and --json, for every benchmark."""
    parser = argparse.ArgumentParser(description=str(doc).strip().splitlines()[0])
    parser.add_argument(
        "--runs", type=int, default=None, help=f"runs in turn (default {runs}; --short: 1)"
    )
    parser.add_argument("--short", action="store_true", help="a moment each: does it still run?")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.set_defaults(runs_in_full=runs)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with `runs` decided."""
    options = parser.parse_args()
    # Servers are ended by who leaves their `with`, so that a run that is stopped leaves none.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.runs is None:
        options.runs = 1 if options.short else options.runs_in_full
    if options.runs < 1:
        parser.error(f"--runs takes a number from 1 on, not {options.runs}")
    return options


def growth_exponent(points: Sequence[tuple[float, float]]) -> float:
    """By how much time grows with N: 1 is linear, 2 is quadratic.

    The slope of the straight line through all points, on logarithmic scales, that is nearest to
    them: one noisy point does not decide it.
    """
    line = statistics.linear_regression(
        [math.log(count) for count, _ in points], [math.log(time) for _, time in points]
    )
    return line.slope


def ratio(ours: float | None, peer: float | None) -> float | None:
    """None where one is missing. Of medians of the same turns: the median of each turn's ratio.

    So a machine that becomes faster between two turns is in no ratio but that of one turn.
    """
    if ours is None or not peer:
        return None
    if isinstance(ours, Median) and isinstance(peer, Median) and len(ours.runs) == len(peer.runs):
        return Median([mine / theirs for mine, theirs in zip(ours.runs, peer.runs, strict=True)])
    return ours / peer
