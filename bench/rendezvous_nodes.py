"""How long does a rendezvous of many nodes take on our server, and what does a node cost it?

    python bench/rendezvous_nodes.py [--short] [--runs N] [--nodes N...] [--json FILE]

Every node sends one JOIN and gets one answer when the round is complete; the load driver plays all.
Measured with the connections open before the first JOIN, and with the connections included. The
floor holds the answers back until the last JOIN has come, too, but keeps no rendezvous. Peers with
real handlers are in handlers.py: nobody else's server keeps a rendezvous.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import connections_max, drive
from _support.report import Cell, Median, Report, alternating, arguments, growth_exponent, parse
from _support.servers import Server, start

# Those that a server of this machine may have open files for.
NODES = [100, 300, 1000, 3000, 10_000, 19_000, 50_000]
SHORT = [100, 1000]
OURS = "ours, native"
FLOOR = "floor, native"
# (server, connections are open before the first JOIN)
Kind = tuple[str, bool]
KINDS: dict[Kind, str] = {
    (FLOOR, True): "floor, joins",
    (OURS, True): "ours, joins",
    (FLOOR, False): "floor, with connections",
    (OURS, False): "ours, with connections",
}


def measure(server: Server, nodes: int, connections_first: bool) -> dict[str, float]:
    found = drive(
        "rendezvous",
        server.port,
        server.pid,
        protocol="native",
        connections=nodes,
        connections_first="yes" if connections_first else "no",
    )
    return {
        "seconds": found["first_join_to_last_answer_s"] if connections_first else found["seconds"],
        "cpu_us": found["server_cpu_us_per_node"],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=None, help="how many")
    options = parse(parser)
    report = Report(__doc__, options)
    sizes = connections_max(options.nodes or (SHORT if options.short else NODES))
    found: dict[int, dict[Kind, dict[str, Median]]] = {}
    for nodes in sizes:
        with ExitStack() as stack:
            servers = start(stack, (FLOOR, OURS), hold=nodes)
            measures: dict[Kind, Callable[[], dict[str, float]]] = {
                kind: partial(measure, servers[kind[0]], nodes, kind[1]) for kind in KINDS
            }
            found[nodes] = alternating(options.runs, measures)
    for caption, figure in (
        ("Seconds until the last node has its answer", "seconds"),
        ("CPU time of the server, us a node", "cpu_us"),
    ):
        rows: list[list[Cell]] = [
            [f"{nodes:,} nodes", *(found[nodes][kind][figure] for kind in KINDS)] for nodes in sizes
        ]
        report.table(caption, ["", *KINDS.values()], rows)
    for nodes in sizes:
        for kind, name in KINDS.items():
            for figure, value in found[nodes][kind].items():
                report.figure(f"rendezvous/{nodes}/{name}/{figure}", value)
    series = {
        name: [(nodes, found[nodes][kind]["seconds"]) for nodes in sizes]
        for kind, name in KINDS.items()
    }
    if len(sizes) > 1:
        exponents = {name: growth_exponent(points) for name, points in series.items()}
        of_cpu = {
            name: growth_exponent(
                [(nodes, nodes * found[nodes][kind]["cpu_us"]) for nodes in sizes]
            )
            for kind, name in KINDS.items()
        }
        report.table(
            f"Growth exponents from {sizes[0]:,} to {sizes[-1]:,} nodes (1: linear)",
            ["", *KINDS.values()],
            [["time", *exponents.values()], ["CPU time of the server", *of_cpu.values()]],
        )
        report.figure("rendezvous/exponent", exponents["ours, joins"])
        report.figure("rendezvous/exponent with connections", exponents["ours, with connections"])
        report.figure("rendezvous/exponent of CPU", of_cpu["ours, with connections"])
        report.plot("rendezvous", "Rendezvous of N nodes", "seconds", series)
    report.finish()


if __name__ == "__main__":
    main()
