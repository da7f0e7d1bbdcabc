"""What does a token cost: a request, a connection, a node, memory; beside the same without?

    python bench/tls.py [--short] [--runs N] [--json FILE]

Both kinds of servers are ours, and the driver speaks TLS where it has the token. With 50
connections and one request in flight, the driver encrypts on the other core, which counts in what
it gets a second, not in the server's CPU time. Of many nodes that join over new connections, each
shakes hands first: the CPU time that a handshake takes is what a node costs more than without.
Beside it stands what OpenSSL takes alone, the one that the driver was built with.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from _support.driver import connections_max, drive, tool
from _support.report import Cell, Median, Report, alternating, arguments, parse, ratio
from _support.servers import Server, start, with_token

from rendezvous._core import tls_library

NODES = 10_000
SHORT = 500
PLAIN, TOKEN, ALONE = "without", "with a token", "OpenSSL alone"
# What one has to do with the other: (requests in flight on each of 50 connections, bytes).
GETS = ((1, 64), (16, 64), (1, 65536))

Way = tuple[Server, dict[str, Any]]


def gets(way: Way, in_flight: int, value: int, seconds: float) -> dict[str, float]:
    server, options = way
    words: dict[str, Any] = {"protocol": "native", "operation": "get", "connections": 50, **options}
    keys = 1000 if value == 64 else 100
    found = drive(
        *("ops", server.port, server.pid),
        **words,
        in_flight=in_flight,
        value=value,
        keys=keys,
        seconds=seconds,
    )
    return {
        "thousands": found["per_second"] / 1e3,
        "cpu_us": found["server_cpu_us_per_operation"],
    }


def joins(way: Way, nodes: int) -> dict[str, float]:
    server, options = way
    words: dict[str, Any] = {"protocol": "native", "connections": nodes, **options}
    found = drive("rendezvous", server.port, server.pid, **words)
    return {"seconds": found["seconds"], "cpu_us": found["server_cpu_us_per_node"]}


def alone(handshakes: int) -> dict[str, Any]:
    """Handshakes by OpenSSL alone: CPU time of the server's end, and which OpenSSL it is."""
    words = [tool("handshake_floor"), str(handshakes)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def floor(handshakes: int) -> dict[str, float]:
    return {"cpu_us": alone(handshakes)["server_cpu_us_per_handshake"]}


def memory(with_a_token: bool, connections: int) -> dict[str, float]:
    """Of a server that has just started."""
    with ExitStack() as stack:
        server, options = ways(stack)[TOKEN if with_a_token else PLAIN]
        words: dict[str, Any] = {"protocol": "native", **options}
        drive("idle", server.port, server.pid, connections=10, **words)
        found = drive("idle", server.port, server.pid, connections=connections, **words)
    return {"bytes": found["server_bytes_per_connection"]}


def ways(stack: ExitStack) -> dict[str, Way]:
    plain = start(stack, ("ours, native",))["ours, native"]
    server, path = stack.enter_context(with_token())
    return {PLAIN: (plain, {}), TOKEN: (server, {"token_file": path})}


def tell_gets(report: Report, both: dict[str, Way], runs: int, seconds: float) -> None:
    rows: list[list[Cell]] = []
    for in_flight, value in GETS:
        measures: dict[str, Callable[[], dict[str, float]]] = {
            name: partial(gets, way, in_flight, value, seconds) for name, way in both.items()
        }
        found = alternating(runs, measures)
        less = ratio(found[TOKEN]["thousands"], found[PLAIN]["thousands"])
        name = f"50 x {in_flight}, {value} B"
        rows.append(
            [name, *(found[each][what] for what in ("thousands", "cpu_us") for each in both), less]
        )
        report.figure(f"tls/get, {name}/to_plain", less)
    header = ["", "thousands/s", "with a token", "server CPU us", "with a token", "ratio"]
    report.table("Gets (connections x in flight)", header, rows)


def main() -> None:
    options = parse(arguments(__doc__))
    report = Report(__doc__, options)
    nodes = connections_max([SHORT if options.short else NODES])[0]
    with ExitStack() as stack:
        both = ways(stack)
        tell_gets(report, both, options.runs, 0.1 if options.short else 0.5)
        measures: dict[str, Callable[[], dict[str, float]]] = {
            name: partial(joins, way, nodes) for name, way in both.items()
        }
        found = alternating(options.runs, {**measures, ALONE: partial(floor, nodes)})
    kept = alternating(
        min(options.runs, 3),
        {name: partial(memory, name == TOKEN, nodes) for name in (PLAIN, TOKEN)},
    )
    turns = zip(found[TOKEN]["cpu_us"].runs, found[PLAIN]["cpu_us"].runs, strict=True)
    handshake = Median([with_token_us - without_us for with_token_us, without_us in turns])
    what = f"{nodes:,} nodes join over new connections"
    rows: list[list[Cell]] = [
        [f"{what}: seconds", *(found[each]["seconds"] for each in both)],
        [f"{what}: server CPU, us a node", *(found[each]["cpu_us"] for each in both)],
        ["of that, the handshake", None, handshake],
        ["a handshake by OpenSSL alone", None, found[ALONE]["cpu_us"]],
        ["memory of an idle connection, bytes", *(kept[each]["bytes"] for each in both)],
    ]
    report.table("A connection", ["", PLAIN, TOKEN], rows)
    report.note(f"The server has {tls_library()}; alone is {alone(1)['openssl']}.")
    report.figure(f"tls/{nodes}/seconds", found[TOKEN]["seconds"])
    report.figure("tls/handshake_us", handshake)
    report.figure("tls/handshake_to_floor", ratio(handshake, found[ALONE]["cpu_us"]))
    report.figure("tls/connection", kept[TOKEN]["bytes"])
    report.finish()


if __name__ == "__main__":
    main()
