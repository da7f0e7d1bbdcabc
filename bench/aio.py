"""What does asyncio's store do in a second, and what does one of many waits cost?

    python bench/aio.py [--short] [--runs N] [--seconds S] [--json FILE]

Gets of 64 bytes, on asyncio's own loop and on uvloop's. 100 tasks of one process have one request
in flight each: ours and the floor on one connection; redis.asyncio with hiredis, which does not
pipeline by itself, on its pool's 100. The floor is the same protocol in plain Python that does
nothing else (_support/plain_native.py). One call after the other is put beside the blocking store.
10,000 waits are held by one task; the memory is the process', the tasks' own included. 1,000 nodes
of one run are held by one task, each with a connection of its own. Each run is a process.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from _support.report import Cell, Median, Report, alternating, arguments, parse, ratio
from _support.servers import Server, missing, start

SERVERS = {"ours": "ours, native", "plain": "ours, native", "blocking": "ours, native"}
NAMES = {
    "ours": "rendezvous.aio",
    "plain": "floor: plain Python",
    "redis": "redis.asyncio, hiredis",
    "blocking": "blocking store",
}
Figure = Callable[[], dict[str, float]]


def measure(server: Server, what: str, peer: str, loop: str, seconds: float) -> dict[str, float]:
    player = Path(__file__).parent / "_support" / "aio_player.py"
    words = [sys.executable, str(player), what, peer, loop, str(server.port), str(seconds)]
    found: dict[str, float] = json.loads(
        subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout
    )
    return found


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=None, help="of each run (default 1)")
    options = parse(parser)
    seconds = options.seconds or (0.1 if options.short else 1.0)
    report = Report(__doc__, options)
    loops = ["asyncio", *(["uvloop"] if has("uvloop") else [])]
    redis_is_here = has("redis") and has("hiredis") and not missing(["Redis"])
    with ExitStack() as stack:
        servers = start(stack, ["ours, native", *(["Redis"] if redis_is_here else [])])

        def figure(what: str, peer: str, loop: str) -> Figure:
            server = servers[SERVERS.get(peer, "Redis")]
            return partial(measure, server, what, peer, loop, seconds)

        peers = ["ours", "plain", *(["redis"] if redis_is_here else [])]
        many = alternating(
            options.runs, {(p, at): figure("tasks", p, at) for at in loops for p in peers}
        )
        one = alternating(
            options.runs,
            {
                **{("ours", at): figure("one", "ours", at) for at in loops},
                ("blocking", ""): figure("one", "blocking", ""),
            },
        )
        waits = alternating(options.runs, {at: figure("waits", "ours", at) for at in loops})
        joins = alternating(options.runs, {at: figure("join", "ours", at) for at in loops})
    tell(report, loops, peers, many, one)
    tell_waits(report, waits)
    tell_joins(report, joins)
    for module in ("uvloop", "redis", "hiredis"):
        if not has(module):
            report.note(f"Left out: {module} (not installed).")
    report.left_out(missing(["Redis"]))
    report.finish()


Found = dict[tuple[str, str], dict[str, Median]]


def tell(report: Report, loops: list[str], peers: list[str], many: Found, one: Found) -> None:
    rows: list[list[Cell]] = [
        [
            NAMES[peer],
            *(Median([r / 1e3 for r in many[peer, at]["per_second"].runs]) for at in loops),
        ]
        for peer in peers
    ]
    report.table("Thousands of gets a second, 100 tasks", ["", *loops], rows)
    rows = [
        [f"ours over {NAMES[peer]}", *(over(many, peer, at) for at in loops)]
        for peer in peers
        if peer != "ours"
    ]
    report.table("The same as ratios (above 1 is more)", ["", *loops], rows)
    blocking = one["blocking", ""]["us"]
    rows = [
        ["us a get", *(one["ours", at]["us"] for at in loops), blocking],
        [
            "over the blocking store's",
            *(ratio(one["ours", at]["us"], blocking) for at in loops),
            1.0,
        ],
    ]
    report.table("One get after the other", ["", *loops, NAMES["blocking"]], rows)
    for at in loops:
        for peer in peers:
            report.figure(f"aio/{at}/over {peer}", over(many, peer, at))
        report.figure(f"aio/{at}/latency", ratio(one["ours", at]["us"], blocking))


def over(many: Found, peer: str, loop: str) -> float | None:
    return ratio(many["ours", loop]["per_second"], many[peer, loop]["per_second"])


def tell_waits(report: Report, waits: dict[str, dict[str, Median]]) -> None:
    rows: list[list[Cell]] = [
        ["bytes a wait", *(each["bytes"] for each in waits.values())],
        ["% of a core while idle", *(each["idle_percent"] for each in waits.values())],
    ]
    report.table("10,000 waits of one task", ["", *waits], rows)
    for loop, each in waits.items():
        report.figure(f"aio/{loop}/wait_bytes", each["bytes"])


def tell_joins(report: Report, joins: dict[str, dict[str, Median]]) -> None:
    rows: list[list[Cell]] = [
        ["s until all have a rank", *(each["seconds"] for each in joins.values())]
    ]
    report.table("1,000 nodes of one task join one run", ["", *joins], rows)
    for loop, each in joins.items():
        report.figure(f"aio/{loop}/join_s", each["seconds"])


if __name__ == "__main__":
    main()
