"""How fast is FileStore beside torch's FileStore? Information, not a gate.

    python bench/filestore.py [--runs N] [--operations N]

One process does each operation many times, and four processes add to one counter, alternating
between the two stores; printed are the medians of the runs and their ratio (above 1: ours is
faster). The file is in the temporary directory (TMPDIR). Without torch, ours is measured alone.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rendezvous

try:
    from torch.distributed import FileStore as TorchFileStore
except ImportError:
    TorchFileStore = None

PROCESSES = 4
VALUE = "x" * 64


def make(kind: str, path: str, world_size: int) -> Any:
    return (rendezvous.FileStore if kind == "ours" else TorchFileStore)(path, world_size)


def operations(store: Any) -> dict[str, Callable[[], object]]:
    store.set("there", VALUE)
    store.set("cas", "a")
    return {
        "set": lambda: store.set("key", VALUE),
        "get": lambda: store.get("there"),
        "check": lambda: store.check(["there"]),
        "add": lambda: store.add("counter", 1),
        "compare_set": lambda: store.compare_set("cas", "a", "a"),
    }


def one_process(kind: str, name: str, count: int) -> float:
    """Microseconds an operation."""
    with tempfile.TemporaryDirectory() as folder:
        store = make(kind, str(Path(folder) / "store"), 1)
        operation = operations(store)[name]
        begin = time.perf_counter()
        for _ in range(count):
            operation()
        elapsed = time.perf_counter() - begin
        del operation, store
    return elapsed / count * 1e6


def add_often(kind: str, path: str, count: int, begin: Any) -> None:
    store = make(kind, path, PROCESSES)
    store.add("warm", 1)
    begin.wait()
    for _ in range(count):
        store.add("counter", 1)
    begin.wait()


def many_processes(kind: str, count: int) -> float:
    """Microseconds an add, of all processes together."""
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "store")
        begin = context.Barrier(PROCESSES + 1)
        processes = [
            context.Process(target=add_often, args=(kind, path, count, begin))
            for _ in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        begin.wait()
        start = time.perf_counter()
        begin.wait()
        elapsed = time.perf_counter() - start
        for process in processes:
            process.join()
    return elapsed / (count * PROCESSES) * 1e6


def compare(what: str, measure: Callable[[str], float], runs: int) -> None:
    kinds = ["ours"] if TorchFileStore is None else ["ours", "torch"]
    results: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind in kinds:
            results[kind].append(measure(kind))
    ours = statistics.median(results["ours"])
    line = f"{what:24}{ours:10.2f}"
    if "torch" in results:
        theirs = statistics.median(results["torch"])
        line += f"{theirs:10.2f}{theirs / ours:8.1f}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--operations", type=int, default=20_000)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, rendezvous {rendezvous.__version__}"
    )
    print(f"{'median us':24}{'ours':>10}{'torch':>10}{'ratio':>8}")
    for name in ("get", "set", "check", "add", "compare_set"):
        compare(name, partial(one_process, name=name, count=options.operations), options.runs)
    each = options.operations // PROCESSES
    compare(f"add, {PROCESSES} processes", partial(many_processes, count=each), options.runs)


if __name__ == "__main__":
    main()
