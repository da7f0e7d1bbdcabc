"""How much of the server's memory do a connection, a key and a node take?

    python bench/memory.py [--short] [--runs N] [--connections N] [--keys N] [--json FILE]

The growth of the server's own memory (RssAnon), divided by how many there are. What the kernel
keeps for each socket is the same for all and not counted. Every figure is of a server that has
just started: one that has given memory back would look better than it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import connections_max, drive
from _support.report import Cell, Report, alternating, arguments, parse
from _support.servers import missing, start

PEERS = ("ours, c10d", "ours, native", "torch", "Redis")
CONNECTIONS = 10_000
KEYS = 100_000
SHORT = 1_000
SHORT_KEYS = 20_000


def grown(peer: str, scenario: str, figure: str, **options: int) -> float:
    """A figure of a scenario on a server that has just started."""
    with ExitStack() as stack:
        server = start(stack, (peer,))[peer]
        # What the first connections alone make a server allocate belongs to none.
        drive("idle", server.port, server.pid, protocol=server.protocol, connections=10)
        found = drive(scenario, server.port, server.pid, protocol=server.protocol, **options)
    return float(found[figure])


def measure(peer: str, connections: int, keys: int) -> dict[str, float]:
    return {
        "connection": grown(peer, "idle", "server_bytes_per_connection", connections=connections),
        "key": grown(peer, "keys", "server_bytes_per_key", keys=keys),
    }


def measure_node(nodes: int) -> dict[str, float]:
    return {"node": grown("ours, native", "rendezvous", "server_bytes_per_node", connections=nodes)}


def main() -> None:
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--connections", type=int, default=None, help=f"default {CONNECTIONS}")
    parser.add_argument("--keys", type=int, default=None, help=f"default {KEYS}")
    options = parse(parser)
    report = Report(__doc__, options)
    (connections,) = connections_max(
        [options.connections or (SHORT if options.short else CONNECTIONS)]
    )
    keys = options.keys or (SHORT_KEYS if options.short else KEYS)
    left_out = missing(PEERS)
    here = [peer for peer in PEERS if peer not in left_out]
    measures: dict[str, Callable[[], dict[str, float]]] = {
        peer: partial(measure, peer, connections, keys) for peer in here
    }
    found = alternating(options.runs, measures)
    node = alternating(options.runs, {0: lambda: measure_node(connections)})[0]["node"]
    rows: list[list[Cell]] = [
        [f"an idle connection (of {connections:,})", *(found[peer]["connection"] for peer in here)],
        [f"a key with 64 bytes (of {keys:,})", *(found[peer]["key"] for peer in here)],
        [
            f"a node that has joined, its connection included (of {connections:,})",
            *(node if peer == "ours, native" else None for peer in here),
        ],
    ]
    report.table("Bytes of the server's memory", ["", *here], rows)
    for peer in here:
        for figure, value in found[peer].items():
            report.figure(f"memory/{peer}/{figure}", value)
    report.figure("memory/ours, native/node", node)
    report.left_out(left_out)
    report.finish()


if __name__ == "__main__":
    main()
