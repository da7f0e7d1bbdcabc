"""How long does a job's start take, and what does a rank of it cost the server?

    python bench/start.py [--short] [--runs N] [--ranks N...] [--json FILE]

Every rank connects, says hello, sets its own key, adds to a counter, waits until the last one has
come, and gets one value. The load driver plays all ranks. On Redis the waiting is a blocking move
within a list, which wakes one after the other. The floor is what cannot be left out: accept,
hello, one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import connections_max, drive
from _support.report import (
    Cell,
    Median,
    Report,
    alternating,
    arguments,
    growth_exponent,
    parse,
    ratio,
)
from _support.servers import Server, missing, start

PEERS = ("ours, c10d", "ours, native", "torch", "Redis")
FLOOR = "floor, c10d"
# Those that a server of this machine may have open files for.
RANKS = [100, 300, 1000, 3000, 10_000, 19_000, 50_000]
SHORT = [100, 1000]


def measure(server: Server, ranks: int) -> dict[str, float]:
    # The floor cannot make anybody wait: its ranks are done with their hello.
    scenario = "idle" if server.name == FLOOR else "start"
    each = "connection" if server.name == FLOOR else "rank"
    found = drive(
        scenario, server.port, server.pid, protocol=server.protocol, connections=ranks, timeout=300
    )
    return {"seconds": found["seconds"], "cpu_us": found[f"server_cpu_us_per_{each}"]}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=None, help="how many")
    options = parse(parser)
    report = Report(__doc__, options)
    sizes = connections_max(options.ranks or (SHORT if options.short else RANKS))
    found: dict[int, dict[str, dict[str, Median]]] = {}
    with ExitStack() as stack:
        servers = start(stack, (FLOOR, *PEERS))
        for ranks in sizes:
            measures: dict[str, Callable[[], dict[str, float]]] = {
                peer: partial(measure, server, ranks) for peer, server in servers.items()
            }
            found[ranks] = alternating(options.runs, measures)
    here = list(servers)
    for caption, figure in (
        ("Seconds until all have their value, connections included", "seconds"),
        ("CPU time of the server, us a rank", "cpu_us"),
    ):
        rows: list[list[Cell]] = [
            [f"{ranks:,} ranks", *(found[ranks][peer][figure] for peer in here)] for ranks in sizes
        ]
        report.table(caption, ["", *here], rows)
    for ranks in sizes:
        for peer in here:
            for figure, value in found[ranks][peer].items():
                report.figure(f"start/{ranks}/{peer}/{figure}", value)
        for peer in ("ours, c10d", "ours, native"):
            theirs = found[ranks].get("torch", {}).get("cpu_us")
            report.figure(
                f"start/{ranks}/{peer}/cpu_to_torch", ratio(found[ranks][peer]["cpu_us"], theirs)
            )
    series = {peer: [(n, found[n][peer]["seconds"]) for n in sizes] for peer in here}
    if len(sizes) > 1:
        exponents = {peer: growth_exponent(points) for peer, points in series.items()}
        of_cpu = {
            peer: growth_exponent([(n, n * found[n][peer]["cpu_us"]) for n in sizes])
            for peer in here
        }
        report.table(
            f"Growth exponents from {sizes[0]:,} to {sizes[-1]:,} ranks (1: linear)",
            ["", *here],
            [["time", *exponents.values()], ["CPU time of the server", *of_cpu.values()]],
        )
        report.figure("start/exponent", exponents["ours, c10d"])
        report.figure("start/exponent of CPU", of_cpu["ours, c10d"])
        report.plot("start", "Start of a job", "seconds", series)
    report.left_out(missing(PEERS))
    report.finish()


if __name__ == "__main__":
    main()
