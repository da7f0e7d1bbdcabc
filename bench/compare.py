"""What the benchmarks share: alternating runs, medians, ratios, and what they ran on."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import rendezvous


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
    """Prints one line a question: each peer's median, and the peers' over ours."""

    def __init__(self, peers: Sequence[str], runs: int, unit: str = "us") -> None:
        self._peers = peers
        self._runs = runs
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux "
            f"{platform.release()}, Python {platform.python_version()}, rendezvous "
            f"{rendezvous.__version__}"
        )
        names = "".join(f"{peer:>12}" for peer in peers)
        ratios = "".join(f"{peers[0] + '/' + peer:>14}" for peer in peers[1:])
        print(f"{'median ' + unit + ' of ' + str(runs) + ' runs':28}{names}{ratios}")

    def row(self, what: str, measure: Callable[[str], float]) -> None:
        """Measure each peer in turn, so that a busy moment meets them all."""
        results: dict[str, list[float]] = {peer: [] for peer in self._peers}
        for _ in range(self._runs):
            for peer in self._peers:
                results[peer].append(measure(peer))
        medians = [statistics.median(results[peer]) for peer in self._peers]
        values = "".join(f"{value:12.2f}" for value in medians)
        ratios = "".join(f"{medians[0] / value:14.2f}" for value in medians[1:])
        print(f"{what:28}{values}{ratios}", flush=True)


def arguments(description: str, operations: int) -> argparse.Namespace:
    """--runs and --operations."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs (default: 7)")
    parser.add_argument(
        "--operations", type=int, default=operations, help=f"in each run (default: {operations})"
    )
    return parser.parse_args()
