"""What does a running job cost the server, and how soon does a lost node lead to a new round?

    python bench/reform.py [--short] [--runs N] [--nodes N] [--seconds S] [--json FILE]

Keep-alives: every node sends one each 5 s, spread evenly. Loss: one connection breaks, every other
node is told and joins again, another node takes the lost one's place; until all have the new
round's answer.
"""

from __future__ import annotations

from contextlib import ExitStack

from _support.driver import connections_max, drive
from _support.report import Report, alternating, arguments, parse
from _support.servers import Server, start

OURS = "ours, native"
NODES = 10_000
SHORT = 500
INTERVAL_S = 5.0


def keep_alives(server: Server, nodes: int, seconds: float) -> dict[str, float]:
    found = drive(
        "keepalive",
        server.port,
        server.pid,
        protocol="native",
        connections=nodes,
        interval=INTERVAL_S,
        seconds=seconds,
    )
    return {
        "core_percent": found["server_cpu_percent"],
        "cpu_us": found["server_cpu_us_per_keep_alive"],
        "p99_us": found["keep_alive_us"]["p99"],
    }


def loss(server: Server, nodes: int) -> dict[str, float]:
    found = drive(
        "rendezvous", server.port, server.pid, protocol="native", connections=nodes, lose=1
    )
    return {
        "noticed_s": found["noticed_by_all_s"],
        "reformed_s": found["reformed_s"],
        "cpu_s": found["reform_server_cpu_s"],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--nodes", type=int, default=None, help=f"how many (default {NODES})")
    parser.add_argument("--seconds", type=float, default=None, help="of keep-alives (default 5)")
    options = parse(parser)
    report = Report(__doc__, options)
    (nodes,) = connections_max([options.nodes or (SHORT if options.short else NODES)])
    seconds = options.seconds or (0.5 if options.short else INTERVAL_S)
    with ExitStack() as stack:
        server = start(stack, (OURS,))[OURS]
        kept = alternating(options.runs, {0: lambda: keep_alives(server, nodes, seconds)})[0]
        lost = alternating(options.runs, {0: lambda: loss(server, nodes)})[0]
    report.table(
        f"{nodes:,} nodes, a keep-alive every {INTERVAL_S:g} s",
        ["CPU of the server, % of a core", "us a keep-alive", "99th percentile of answers, us"],
        [[*kept.values()]],
    )
    report.table(
        f"One of {nodes:,} nodes lost and replaced",
        ["all are told, s", "new round with all, s", "CPU time of the server, s"],
        [[*lost.values()]],
    )
    for name, value in kept.items():
        report.figure(f"keepalive/{nodes}/{name}", value)
    for name, value in lost.items():
        report.figure(f"loss/{nodes}/{name}", value)
    report.finish()


if __name__ == "__main__":
    main()
