"""What does a rank of NCCL's scalable start cost the server: wait for many keys, and read them?

    python bench/ids.py [--short] [--runs N] [--ranks N...] [--keys N] [--json FILE]

NCCL's ids of 100,000 ranks are 782 keys of 128 bytes; every rank waits for all of them and reads
them in one multi_get. The connections are open and the keys there before; the load driver plays the
ranks, each of which sends a request as a whole. Redis has no such wait.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import connections_max, drive
from _support.report import Cell, Median, Report, alternating, arguments, parse, ratio
from _support.servers import Server, missing, start

PEERS = ("ours, c10d", "ours, native", "torch")
RANKS = [100, 1000, 3000]
SHORT = [100]
# One id for 128 ranks.
KEYS = 782
ID_BYTES = 128


def measure(server: Server, ranks: int, keys: int) -> dict[str, float]:
    found = drive(
        "ids",
        server.port,
        server.pid,
        protocol=server.protocol,
        connections=ranks,
        keys=keys,
        value=ID_BYTES,
        timeout=300,
    )
    return {"seconds": found["seconds"], "cpu_us": found["server_cpu_us_per_rank"]}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=None, help="how many")
    parser.add_argument("--keys", type=int, default=KEYS, help=f"how many (default {KEYS})")
    options = parse(parser)
    report = Report(__doc__, options)
    sizes = connections_max(options.ranks or (SHORT if options.short else RANKS))
    found: dict[int, dict[str, dict[str, Median]]] = {}
    with ExitStack() as stack:
        servers = start(stack, PEERS)
        for ranks in sizes:
            measures: dict[str, Callable[[], dict[str, float]]] = {
                peer: partial(measure, server, ranks, options.keys)
                for peer, server in servers.items()
            }
            found[ranks] = alternating(options.runs, measures)
    for caption, figure in (
        (f"Seconds until all have {options.keys} values of {ID_BYTES} B", "seconds"),
        ("CPU time of the server, us a rank", "cpu_us"),
    ):
        rows: list[list[Cell]] = [
            [f"{ranks:,} ranks", *(found[ranks][peer][figure] for peer in servers)]
            for ranks in sizes
        ]
        report.table(caption, ["", *servers], rows)
    for ranks in sizes:
        for peer in servers:
            for figure, value in found[ranks][peer].items():
                report.figure(f"ids/{ranks}/{peer}/{figure}", value)
            if peer != "torch":
                theirs = found[ranks].get("torch", {}).get("cpu_us")
                report.figure(
                    f"ids/{ranks}/{peer}/cpu_to_torch", ratio(found[ranks][peer]["cpu_us"], theirs)
                )
    report.left_out(missing(PEERS))
    report.finish()


if __name__ == "__main__":
    main()
