"""How fast is FileStore beside torch's FileStore? Information, not a gate.

    python bench/filestore.py [--short] [--runs N] [--operations N] [--json FILE]

One process does each operation many times, and four processes add to one counter, alternating
between the two stores. The file is in the temporary directory (TMPDIR). Without torch, ours is
measured alone.
"""

from __future__ import annotations

import multiprocessing as mp
import tempfile
import time
from collections.abc import Callable
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


def main() -> None:
    options = parse_arguments(__doc__, 20_000)
    table = Table(__doc__, ["ours"] if TorchFileStore is None else ["ours", "torch"], options)
    for name in ("get", "set", "check", "add", "compare_set"):
        table.row(name, partial(one_process, name=name, count=options.operations))
    each = options.operations // PROCESSES
    table.row(f"add, {PROCESSES} processes", partial(many_processes, count=each))
    table.finish({} if TorchFileStore is not None else {"torch": NO_TORCH})


if __name__ == "__main__":
    main()
