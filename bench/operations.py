"""How many operations a second does the server answer, and what does one cost it?

    python bench/operations.py [--short] [--runs N] [--seconds S] [--only REGEX] [--json FILE]

A closed loop of one operation on 1, 50 and 1,000 connections, 1 and 16 in flight on each, by a load
driver that is one process. The floor is a bare epoll loop that answers constants; peers are torch's
TCPStore (libuv), Redis and memcached. `set` on c10d, which has no answer, is followed by a PING.
compare_set is a script on Redis and does not exist on memcached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import drive
from _support.report import Cell, Report, alternating, arguments, parse, ratio
from _support.servers import Server, missing, start

PEERS = (
    "floor, c10d",
    "ours, c10d",
    "floor, native",
    "ours, native",
    "torch",
    "Redis",
    "memcached",
)
# (operation, connections, in flight, bytes of a value)
Case = tuple[str, int, int, int]
OPERATIONS = ("get", "add", "set", "compare_set")
CASES: list[Case] = [
    (operation, connections, in_flight, 64)
    for operation in OPERATIONS
    for connections in (1, 50, 1000)
    for in_flight in (1, 16)
] + [
    (operation, 50, in_flight, value_bytes)
    for operation in ("get", "set")
    for value_bytes in (1024, 65536)
    for in_flight in (1, 16)
]
SHORT: list[Case] = [("get", 50, 1, 64), ("add", 50, 1, 64), ("get", 50, 16, 64)]
# 100 keys of 64 KiB are enough to miss no cache line that 1,000 of 64 bytes would.
KEYS = {64: 1000, 1024: 1000, 65536: 100}


def can(peer: str, operation: str) -> bool:
    return not (peer == "memcached" and operation == "compare_set")


def measure(server: Server, case: Case, seconds: float) -> dict[str, float]:
    operation, connections, in_flight, value_bytes = case
    found = drive(
        "ops",
        server.port,
        server.pid,
        protocol=server.protocol,
        operation=operation,
        connections=connections,
        in_flight=in_flight,
        value=value_bytes,
        keys=KEYS[value_bytes],
        seconds=seconds,
    )
    return {
        "per_second": found["per_second"],
        "cpu_us": found["server_cpu_us_per_operation"],
        "p50_us": found["latency_us"]["p50"],
        "p99_us": found["latency_us"]["p99"],
        "driver_cpu_us": found["driver_cpu_us_per_operation"],
    }


def name_of(case: Case) -> str:
    operation, connections, in_flight, value_bytes = case
    size = f"{value_bytes} B" if value_bytes < 1024 else f"{value_bytes // 1024} KiB"
    return f"{operation}, {connections:,} x {in_flight}, {size}"


def run_cases(
    cases: list[Case], runs: int, seconds: float
) -> dict[Case, dict[str, dict[str, float]]]:
    found: dict[Case, dict[str, dict[str, float]]] = {}
    for value_bytes in sorted({case[3] for case in cases}):
        with ExitStack() as stack:
            servers = start(stack, PEERS, value_bytes=value_bytes)
            for case in (case for case in cases if case[3] == value_bytes):
                measures: dict[str, Callable[[], dict[str, float]]] = {
                    peer: partial(measure, server, case, seconds)
                    for peer, server in servers.items()
                    if can(peer, case[0])
                }
                found[case] = alternating(runs, measures)
    return found


def tell(report: Report, found: dict[Case, dict[str, dict[str, float]]]) -> None:
    here = [peer for peer in PEERS if any(peer in peers for peers in found.values())]
    # Names, figures, and by how much one shown number is divided.
    for caption, figure, divisor in (
        ("Thousands of operations a second (connections x in flight, size)", "per_second", 1e3),
        ("CPU time of the server, us an operation", "cpu_us", 1.0),
        ("Latency, us, median", "p50_us", 1.0),
        ("Latency, us, 99th percentile", "p99_us", 1.0),
    ):
        rows: list[list[Cell]] = []
        for case, peers in found.items():
            values: list[Cell] = [
                peers[peer][figure] / divisor if peer in peers else None for peer in here
            ]
            rows.append([name_of(case), *values])
        report.table(caption, ["", *here], rows)

    def of(case: Case, peer: str, figure: str) -> float | None:
        return found[case].get(peer, {}).get(figure)

    rows = []
    for case in found:
        ours = of(case, "ours, c10d", "per_second")
        ratios = {
            "cpu_to_floor": ratio(
                of(case, "ours, c10d", "cpu_us"), of(case, "floor, c10d", "cpu_us")
            ),
            "native_cpu_to_floor": ratio(
                of(case, "ours, native", "cpu_us"), of(case, "floor, native", "cpu_us")
            ),
            "to_torch": ratio(ours, of(case, "torch", "per_second")),
            "to_redis": ratio(ours, of(case, "Redis", "per_second")),
        }
        rows.append([name_of(case), *ratios.values()])
        for name, value in ratios.items():
            report.figure(f"ops/{name_of(case)}/{name}", value)
    report.table(
        "Ours beside the others (CPU: below 1 is less; throughput: above 1 is more)",
        ["", "CPU c10d/floor", "CPU native/floor", "throughput/torch", "throughput/Redis"],
        rows,
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=None, help="of each run (default 0.5)")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases, by their name's part")
    options = parse(parser)
    seconds = options.seconds or (0.1 if options.short else 0.5)
    cases = SHORT if options.short else CASES
    cases = [case for case in cases if re.search(options.only, name_of(case))]
    if not cases:
        parser.error(f"--only {options.only!r} matches no case")
    report = Report(__doc__, options)
    tell(report, run_cases(cases, options.runs, seconds))
    report.left_out(missing(PEERS))
    report.finish()


if __name__ == "__main__":
    main()
