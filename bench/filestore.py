"""How fast is FileStore beside torch's FileStore? Information, not a gate.

    python bench/filestore.py [--short] [--runs N] [--operations N] [--json FILE]

One process does each operation many times, four processes add to one counter, and one waits for
keys that another sets, alternating between the two stores; ours is also opened with many keys in
it. The file is in the temporary directory (TMPDIR). Without torch, ours is measured alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from compare import NO_TORCH, Table, parse_arguments, per_operation_us

import rendezvous

try:
    from torch.distributed import FileStore as TorchFileStore
except ImportError:
    TorchFileStore = None

PROCESSES = 4
# What a waiter sleeps until, each time: long enough for it to be asleep.
QUIET_S = 0.03
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
        return per_operation_us(operations(store)[name], count)


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
        elapsed: float = time.perf_counter() - start
        for process in processes:
            process.join()
    return elapsed / (count * PROCESSES) * 1e6


def fill(path: str, keys: int) -> None:
    store = rendezvous.FileStore(path, job_id="bench")
    for first in range(0, keys, 1000):
        some = range(first, min(first + 1000, keys))
        store.multi_set([f"key/{i}" for i in some], [VALUE] * len(some))


def opening_s(_: str, path: str, keys: int) -> float:
    begin = time.perf_counter()
    store = rendezvous.FileStore(path, job_id="bench")
    elapsed = time.perf_counter() - begin
    if store.num_keys() != keys:
        raise RuntimeError(f"{store.num_keys()} keys in place of {keys}")
    return elapsed


def set_often(kind: str, path: str, count: int) -> None:
    store = make(kind, path, 2)
    for i in range(count):
        time.sleep(QUIET_S)
        store.set(f"key/{i}", str(time.monotonic_ns()))


def waiting_us(kind: str, count: int) -> float:
    """Microseconds from before a set in one process to after the get in another; the median."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "store")
        store = make(kind, path, 2)
        setter = mp.get_context("spawn").Process(target=set_often, args=(kind, path, count))
        setter.start()
        taken = []
        for i in range(count):
            value = store.get(f"key/{i}")
            taken.append((time.monotonic_ns() - int(value)) / 1000)
        setter.join()
    return statistics.median(taken)


def idle_percent(kind: str, seconds: float) -> float:
    """The share of a core that a wait for nothing costs."""
    with tempfile.TemporaryDirectory() as folder:
        store = make(kind, str(Path(folder) / "store"), 1)
        begin = time.process_time()
        with contextlib.suppress(Exception):  # each store's own timeout
            store.wait(["never"], timedelta(seconds=seconds))
        return (time.process_time() - begin) / seconds * 100


def main() -> None:
    options = parse_arguments(__doc__, 20_000)
    table = Table(__doc__, ["ours"] if TorchFileStore is None else ["ours", "torch"], options)
    for name in ("get", "set", "check", "add", "compare_set"):
        table.row(name, partial(one_process, name=name, count=options.operations))
    each = options.operations // PROCESSES
    table.row(f"add, {PROCESSES} processes", partial(many_processes, count=each))
    table.row(
        "get, from the set in another process",
        partial(waiting_us, count=10 if options.short else 50),
        figure="filestore/wait_us",
    )
    table.row(
        "waiting for nothing, % of a core",
        partial(idle_percent, seconds=1 if options.short else 5),
        figure="filestore/idle_percent",
    )
    keys = 10_000 if options.short else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "store")
        fill(path, keys)
        table.row(
            f"opening, {keys:,} keys of 64 B, s",
            partial(opening_s, path=path, keys=keys),
            figure=f"filestore/open_s/{keys}",
            peers=["ours"],
        )
    table.finish({} if TorchFileStore is not None else {"torch": NO_TORCH})


if __name__ == "__main__":
    main()
