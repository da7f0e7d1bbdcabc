"""What the benchmarks of Python's calls share: calls in a row, and a table beside torch's."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from _support.report import Cell, Report, alternating, arguments, parse, ratio


def per_operation_us(operation: Callable[[], object], count: int) -> float:
    """Microseconds that one operation takes, of `count` in a row."""
    begin = time.perf_counter()
    for _ in range(count):
        operation()
    return (time.perf_counter() - begin) / count * 1e6


Operations = dict[str, Callable[[], object]]


def measure(made: dict[str, Operations], name: str, count: int, peer: str) -> float:
    """per_operation_us of one peer's operation."""
    return per_operation_us(made[peer][name], count)


def process_cpu_s(pid: int) -> float:
    """User and system time of a process, in seconds (Linux)."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Table:
    """One line a question: each peer's median, and ours over the peers'."""

    def __init__(self, doc: str | None, peers: Sequence[str], options: argparse.Namespace) -> None:
        self._report = Report(doc, options)
        self._peers = peers
        self._runs: int = options.runs
        self._rows: list[list[Cell]] = []

    def row(
        self,
        what: str,
        measure: Callable[[str], float],
        figure: str | None = None,
        peers: Sequence[str] | None = None,
    ) -> None:
        """Measure each peer (or these) in turn, so that a busy moment meets them all.

        figure: what the table of targets knows it as, with the peer behind it.
        """
        measured = self._peers if peers is None else peers
        measures = {peer: partial(_as_figure, measure, peer) for peer in measured}
        found = alternating(self._runs, measures)
        medians = [found[peer]["value"] if peer in found else None for peer in self._peers]
        self._rows.append([what, *medians, *(ratio(medians[0], value) for value in medians[1:])])
        for peer in found:
            if figure is not None:
                self._report.figure(f"{figure}/{peer}", found[peer]["value"])

    def finish(self, without: Mapping[str, str]) -> None:
        """Print, and write what --json asked for."""
        ratios = [f"{self._peers[0]}/{peer}" for peer in self._peers[1:]]
        caption = f"Microseconds a call where not named, medians of {self._runs} runs"
        self._report.table(caption, ["", *self._peers, *ratios], self._rows)
        self._report.left_out(without)
        self._report.finish()


def _as_figure(measure: Callable[[str], float], peer: str) -> dict[str, float]:
    return {"value": measure(peer)}


def parse_arguments(doc: str | None, operations: int) -> argparse.Namespace:
    """--runs, --short, --json, and --operations."""
    parser = arguments(doc, runs=7)
    parser.add_argument(
        "--operations", type=int, default=None, help=f"in each run (default: {operations})"
    )
    options = parse(parser)
    if options.operations is None:
        options.operations = max(operations // 20, 100) if options.short else operations
    return options


NO_TORCH = "this Python has no torch"
