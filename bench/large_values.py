"""How long does it take from Python to set and to take a large value, beside torch's stores?

    python bench/large_values.py [--short] [--runs N] [--json FILE]

The stores are in this process, but for those over TCP: each of these has its server in a process of
its own. Torch's `set` over TCP is not acknowledged, so the time of its sets is that until an `add`
behind the last of them is answered. Torch's TCPStore takes no values of 64 MiB. compare_set is one
that is refused, and so returns the value.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from _support.report import Cell, Median, Report, alternating, arguments, parse, ratio
from _support.servers import start

import rendezvous

try:
    from torch.distributed import FileStore as TorchFileStore
    from torch.distributed import HashStore as TorchHashStore
    from torch.distributed import TCPStore as TorchTCPStore
except ImportError:
    TorchFileStore = TorchHashStore = TorchTCPStore = None

SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20, "64 MiB": 64 << 20}
# What a measure moves in all, in bytes, and how many calls it is at most.
MOVED = 256 << 20
CALLS_MAX = 500
TORCH_TCP_BYTES_MAX = 8 << 20


def calls(size: int, *, short: bool) -> int:
    return max(3, min(CALLS_MAX, MOVED // size) // (20 if short else 1))


def timed_us(call: Callable[[], object], count: int, behind: Callable[[], object]) -> float:
    begin = perf_counter()
    for _ in range(count):
        call()
    behind()
    return (perf_counter() - begin) / count * 1e6


def measure(store: Any, size: int, count: int) -> dict[str, float]:
    value = b"x" * size
    store.set("value", value)
    if store.get("value") != value:
        raise RuntimeError("another value came back")

    def taken_us(take: Callable[[], object]) -> float:
        return timed_us(take, count, lambda: None)

    found = {
        "set": timed_us(partial(store.set, "value", value), count, lambda: store.add("behind", 1)),
        "get": taken_us(partial(store.get, "value")),
        "compare_set": taken_us(partial(store.compare_set, "value", "another", "")),
    }
    if isinstance(store, rendezvous.Store):
        found["try_get"] = taken_us(partial(store.try_get, "value"))
        for _ in range(count):
            store.queue_push("queue", value)
        found["queue_pop"] = taken_us(partial(store.queue_pop, "queue"))
    return found


def stores(stack: ExitStack) -> dict[str, dict[str, Any]]:
    """Ours and torch's, by what is compared."""
    servers = start(stack, ("ours, native", "ours, c10d"))
    made: dict[str, dict[str, Any]] = {"HashStore": {"ours": rendezvous.HashStore()}}
    folder = Path(stack.enter_context(TemporaryDirectory()))
    made["FileStore"] = {"ours": rendezvous.FileStore(folder / "ours")}
    tcp = made["TCPStore"] = {}
    native, c10d = (servers[peer].port for peer in ("ours, native", "ours, c10d"))
    tcp["ours, native"] = rendezvous.TCPStore("127.0.0.1", native, protocol="native")
    tcp["ours, c10d"] = rendezvous.TCPStore("127.0.0.1", c10d, protocol="c10d")
    if TorchHashStore is not None:
        made["HashStore"]["torch"] = TorchHashStore()
        made["FileStore"]["torch"] = TorchFileStore(str(folder / "torch"), 1)
        server = start(stack, ("torch",))["torch"]
        tcp["torch"] = TorchTCPStore(
            "127.0.0.1", server.port, wait_for_workers=False, timeout=timedelta(seconds=60)
        )
    return made


def tell(report: Report, what: str, peers: dict[str, Any], runs: int, *, short: bool) -> None:
    found: dict[str, dict[str, dict[str, Median]]] = {}
    for name, size in SIZES.items():
        measures: dict[str, Callable[[], dict[str, float]]] = {
            peer: partial(measure, store, size, calls(size, short=short))
            for peer, store in peers.items()
            if what != "TCPStore" or peer != "torch" or size <= TORCH_TCP_BYTES_MAX
        }
        found[name] = alternating(runs, measures)
    for operation in ("set", "get", "compare_set", "try_get", "queue_pop"):
        rows: list[list[Cell]] = [
            [name, *(found[name].get(peer, {}).get(operation) for peer in peers)] for name in SIZES
        ]
        report.table(f"{what}: us a {operation}", ["", *peers], rows)
        for name in SIZES:
            torchs = found[name].get("torch", {}).get(operation)
            for peer in [each for each in found[name] if operation in found[name][each]]:
                figure = f"large/{what}/{name}/{peer}/{operation}"
                report.figure(f"{figure}/us", found[name][peer][operation])
                if peer != "torch":
                    report.figure(f"{figure}/to_torch", ratio(found[name][peer][operation], torchs))


def main() -> None:
    options = parse(arguments(__doc__))
    report = Report(__doc__, options)
    with ExitStack() as stack:
        for what, peers in stores(stack).items():
            tell(report, what, peers, options.runs, short=options.short)
    if TorchHashStore is None:
        report.left_out({"torch": "this Python has no torch"})
    report.finish()


if __name__ == "__main__":
    main()
