"""How many operations a second does the server answer, and what does one cost it?

    python bench/operations.py [--short] [--runs N] [--seconds S] [--only REGEX] [--json FILE]

A closed loop of one operation on 1, 50 and 1,000 connections, 1 and 16 in flight on each, with
values of 64 B, 1 KiB and 64 KiB (an add has none), by a load driver that is one process. Cases with
a promise get ten runs of half a second, those with 16,000 requests in flight five; the others, for
information, three of a quarter. 1,000 connections x 16 x 64 KiB are left out: that gigabyte in
flight would measure the kernel's memory. The floor is a bare epoll loop that answers constants;
peers are torch's TCPStore (libuv), Redis and memcached. `set` on c10d, which has no answer, is
followed by a PING. compare_set is a script on Redis and does not exist on memcached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _support.driver import drive
from _support.report import Cell, Median, Report, alternating, arguments, parse, ratio
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
Found = dict[Case, dict[str, dict[str, Median]]]
CONNECTIONS = (1, 50, 1000)
IN_FLIGHT = (1, 16)
VALUE_BYTES = {
    "get": (64, 1024, 65536),
    "add": (64,),
    "set": (64, 1024, 65536),
    "compare_set": (64, 1024, 65536),
}
IN_FLIGHT_BYTES_MAX = 100 * 1024 * 1024
CASES: list[Case] = [
    (operation, connections, in_flight, value_bytes)
    for operation, sizes in VALUE_BYTES.items()
    for value_bytes in sizes
    for connections in CONNECTIONS
    for in_flight in IN_FLIGHT
    if connections * in_flight * value_bytes <= IN_FLIGHT_BYTES_MAX
]
# A ratio near its limit needs more runs than one that is far from it.
PROMISED_TURNS = 2
INFORMATION_RUNS = 3
INFORMATION_SECONDS = 0.25
# With so many requests in flight, a shorter run would see each answered only a few times.
MANY_IN_FLIGHT = 10_000
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
        "thousands_per_second": found["per_second"] / 1e3,
        "cpu_us": found["server_cpu_us_per_operation"],
        "p50_us": found["latency_us"]["p50"],
        "p99_us": found["latency_us"]["p99"],
        "driver_cpu_us": found["driver_cpu_us_per_operation"],
    }


def is_promised(case: Case) -> bool:
    """Whether targets.py has it."""
    operation, connections, _, value_bytes = case
    return operation in ("get", "add") and connections > 1 and value_bytes == 64


def name_of(case: Case) -> str:
    operation, connections, in_flight, value_bytes = case
    size = f"{value_bytes} B" if value_bytes < 1024 else f"{value_bytes // 1024} KiB"
    return f"{operation}, {connections:,} x {in_flight}, {size}"


def run_cases(cases: list[Case], plan: Callable[[Case], tuple[int, float]]) -> Found:
    found: Found = {}
    for value_bytes in sorted({case[3] for case in cases}):
        with ExitStack() as stack:
            servers = start(stack, PEERS, value_bytes=value_bytes)
            for case in (case for case in cases if case[3] == value_bytes):
                runs, seconds = plan(case)
                measures: dict[str, Callable[[], dict[str, float]]] = {
                    peer: partial(measure, server, case, seconds)
                    for peer, server in servers.items()
                    if can(peer, case[0])
                }
                found[case] = alternating(runs, measures)
    return found


def tell(report: Report, found: Found) -> None:
    here = [peer for peer in PEERS if any(peer in peers for peers in found.values())]
    for caption, figure in (
        (
            "Thousands of operations a second (connections x in flight, size)",
            "thousands_per_second",
        ),
        ("CPU time of the server, us an operation", "cpu_us"),
        ("Latency, us, median", "p50_us"),
        ("Latency, us, 99th percentile", "p99_us"),
    ):
        rows: list[list[Cell]] = []
        for case, peers in found.items():
            values: list[Cell] = [peers[peer][figure] if peer in peers else None for peer in here]
            rows.append([name_of(case), *values])
        report.table(caption, ["", *here], rows)

    def of(case: Case, peer: str, figure: str) -> float | None:
        return found[case].get(peer, {}).get(figure)

    rows = []
    for case in found:
        ours = of(case, "ours, c10d", "thousands_per_second")
        ratios = {
            "cpu_to_floor": ratio(
                of(case, "ours, c10d", "cpu_us"), of(case, "floor, c10d", "cpu_us")
            ),
            "native_cpu_to_floor": ratio(
                of(case, "ours, native", "cpu_us"), of(case, "floor, native", "cpu_us")
            ),
            "to_torch": ratio(ours, of(case, "torch", "thousands_per_second")),
            "to_redis": ratio(ours, of(case, "Redis", "thousands_per_second")),
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
    parser.add_argument(
        "--seconds", type=float, default=None, help="of each run (default 0.5 and 0.25)"
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="cases, by their name's part")
    options = parse(parser)

    def plan(case: Case) -> tuple[int, float]:
        """How many runs, and how long each."""
        if options.short:
            return options.runs, options.seconds or 0.1
        if is_promised(case):
            return options.runs * PROMISED_TURNS, options.seconds or 0.5
        if case[1] * case[2] >= MANY_IN_FLIGHT:
            return options.runs, options.seconds or 0.5
        return min(options.runs, INFORMATION_RUNS), options.seconds or INFORMATION_SECONDS

    cases = SHORT if options.short else CASES
    cases = [case for case in cases if re.search(options.only, name_of(case))]
    if not cases:
        parser.error(f"--only {options.only!r} matches no case")
    report = Report(__doc__, options)
    tell(report, run_cases(cases, plan))
    report.left_out(missing(PEERS))
    report.finish()


if __name__ == "__main__":
    main()
