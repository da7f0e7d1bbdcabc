"""How long do a barrier, an exchange of all ranks' values, and a large multi_set take?

    python bench/barrier.py [--short] [--runs N] [--ranks N...] [--json FILE]

The connections are open before; the load driver plays all ranks. Exchange is one request a rank on
our native protocol; on torch's it is what its clients compose (set, barrier, multi_get). The data
grows with the square of the ranks: 7 GB for 19,000 of them, and those that compose it are not asked
for so many. The multi_set is of 16,000 values of 1 KiB in pieces of 1,440 bytes, as torch's client
sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from _support.driver import connections_max, drive
from _support.report import Cell, Median, Report, alternating, arguments, parse
from _support.servers import Server, missing, start

PEERS = ("ours, c10d", "ours, native", "torch")
MULTI_SET_PEERS = (*PEERS, "Redis")
# Those that a server of this machine may have open files for.
RANKS = [100, 1000, 3000, 10_000, 19_000, 50_000]
# An exchange, by who plays it.
EXCHANGE_RANKS_MAX = {"ours, c10d": 3000, "ours, native": 19_000, "torch": 3000}
SHORT = [100, 500]
KEYS = 16_000
# Torch's server begins a multi_set anew with every piece that arrives: one run of it is enough.
TORCH_MULTI_SET_RUNS = 1


def together(scenario: str, server: Server, ranks: int) -> dict[str, float]:
    found = drive(
        scenario,
        server.port,
        server.pid,
        protocol=server.protocol,
        connections=ranks,
        value=16,
        timeout=300,
    )
    return {"seconds": found["seconds"], "cpu_us": found["server_cpu_us_per_rank"]}


def multi_set(server: Server, keys: int) -> dict[str, float]:
    found = drive(
        "multi_set", server.port, server.pid, protocol=server.protocol, keys=keys, value=1024
    )
    return {"seconds": found["seconds"], "cpu_s": found["server_cpu_s"]}


def tell_together(
    report: Report,
    scenario: str,
    servers: Mapping[str, Server],
    sizes: list[int],
    runs: int,
    *,
    ranks_max: Mapping[str, int] | None = None,
) -> None:
    found: dict[int, dict[str, dict[str, Median]]] = {}
    for ranks in sizes:
        measures: dict[str, Callable[[], dict[str, float]]] = {
            peer: partial(together, scenario, server, ranks)
            for peer, server in servers.items()
            if ranks <= (ranks_max or {}).get(peer, ranks)
        }
        found[ranks] = alternating(runs, measures)
    for caption, figure in (
        (f"{scenario}: seconds until the last rank is through", "seconds"),
        (f"{scenario}: CPU time of the server, us a rank", "cpu_us"),
    ):
        rows: list[list[Cell]] = [
            [f"{ranks:,} ranks", *(found[ranks].get(peer, {}).get(figure) for peer in servers)]
            for ranks in sizes
        ]
        report.table(caption, ["", *servers], rows)
    for ranks in sizes:
        for peer in found[ranks]:
            for figure, value in found[ranks][peer].items():
                report.figure(f"{scenario}/{ranks}/{peer}/{figure}", value)
    report.plot(
        scenario,
        f"{scenario.capitalize()} of N ranks",
        "seconds",
        {
            peer: [(n, found[n][peer]["seconds"]) for n in sizes if peer in found[n]]
            for peer in servers
        },
    )


def tell_multi_set(report: Report, servers: Mapping[str, Server], keys: int, runs: int) -> None:
    found: dict[str, dict[str, Median]] = {}
    quick: dict[str, Callable[[], dict[str, float]]] = {
        peer: partial(multi_set, server, keys)
        for peer, server in servers.items()
        if peer != "torch"
    }
    found = alternating(runs, quick)
    if "torch" in servers:
        torchs = {"torch": partial(multi_set, servers["torch"], keys)}
        found |= alternating(TORCH_MULTI_SET_RUNS, torchs)
    report.table(
        f"multi_set of {keys:,} values of 1 KiB",
        ["", "seconds", "CPU time of the server, s"],
        [[peer, found[peer]["seconds"], found[peer]["cpu_s"]] for peer in servers],
    )
    for peer in servers:
        for figure, value in found[peer].items():
            report.figure(f"multi_set/{peer}/{figure}", value)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=None, help="how many")
    options = parse(parser)
    report = Report(__doc__, options)
    sizes = connections_max(options.ranks or (SHORT if options.short else RANKS))
    small = [ranks for ranks in sizes if ranks <= max(EXCHANGE_RANKS_MAX.values())] or sizes[:1]
    with ExitStack() as stack:
        servers = start(stack, PEERS)
        tell_together(report, "barrier", servers, sizes, options.runs)
        tell_together(
            report, "exchange", servers, small, options.runs, ranks_max=EXCHANGE_RANKS_MAX
        )
    with ExitStack() as stack:
        servers = start(stack, MULTI_SET_PEERS)
        tell_multi_set(report, servers, 1000 if options.short else KEYS, options.runs)
    report.left_out(missing(MULTI_SET_PEERS))
    report.finish()


if __name__ == "__main__":
    main()
