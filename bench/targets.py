"""The figures that the project promises, and whether a run of the benchmarks holds them.

Times depend on the machine; the limits in seconds and microseconds are for one like the one that
RESULTS.md names. A ratio to a peer or a floor of the same run is the better measure. They are
information: nothing fails here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """`figure` is to be at most `limit`, or at least, with `at_least`."""

    what: str
    figure: str
    limit: float
    unit: str = ""
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether the promise is kept."""
        return value >= self.limit if self.at_least else value <= self.limit

    def wanted(self) -> str:
        """The limit, for people."""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g}{' ' + self.unit if self.unit else ''}"


def _operations() -> list[Target]:
    targets = []
    for operation in ("get", "add"):
        for connections in ("50", "1,000"):
            case = f"{operation}, {connections} x 1, 64 B"
            name = f"{operation}, {connections} connections, 1 in flight"
            targets += [
                Target(f"{name}: server CPU over the floor's", f"ops/{case}/cpu_to_floor", 1.10),
                Target(
                    f"{name}: throughput over torch's", f"ops/{case}/to_torch", 1.15, at_least=True
                ),
            ]
            case = f"{operation}, {connections} x 16, 64 B"
            name = f"{operation}, {connections} connections, 16 in flight"
            targets += [
                Target(
                    f"{name}: throughput over torch's", f"ops/{case}/to_torch", 8, at_least=True
                ),
                Target(
                    f"{name}: throughput over Redis'", f"ops/{case}/to_redis", 1.1, at_least=True
                ),
            ]
    return targets


def _agents() -> list[Target]:
    """Of torchrun's agents."""
    return [
        Target(
            f"{agents} agents of torchrun meet: {text} over torch's c10d",
            f"torchrun_agents/{agents}/{what}/to_torch",
            1,
        )
        for agents in (2, 16, 64)
        for what, text in (("seconds", "time"), ("cpu", "CPU"))
    ]


def _etcd_calls() -> list[Target]:
    """grpcio's HTTP/2 is compiled, ours is h2's, in Python; etcd3gw goes through the gateway."""
    return [
        Target(f"{call} over etcd: time over {peer}'s", f"etcd/{call}/to_{peer}", limit)
        for peer, limit in (("etcd3gw", 1), ("etcd-sdk-python", 1.5), ("aetcd", 1.5))
        for call in ("get", "compare-and-set")
    ]


def _floods() -> list[Target]:
    """One connection asks for much; another one's PING."""
    kinds = {
        "lists_of_a_prefix_nobody_has": "1,000 LIST_KEYS of a prefix nobody has",
        "deletions_of_a_prefix_nobody_has": "1,000 DELETE_PREFIX of a prefix nobody has",
        "pages_of_members": "pages of 60,000 members",
        "exchanges_that_time_out_at_once": "exchanges with a timeout of 0",
        "keys_that_expire_at_once": "200,000 keys that expire at once",
        "barriers_of_many_sizes": "barriers of 60,000 sizes on one key",
        "a_run_that_is_closed": "a run of 60,000 nodes that is closed",
        "a_job_that_finishes": "the last of 60,000 nodes that leaves",
        "arrivals_at_an_exchange_that_lacks_one": "arrivals at an exchange that lacks one",
        "reads_of_many_keys": "reads of 50,000 keys",
        "waits_for_many_keys_that_time_out": "waits for 50,000 keys that time out",
        "a_list_whose_first_key_comes_last": "a wait for 50,000 keys whose last one comes",
        "waiters_that_time_out_together": "60,000 waits that time out together",
        "thirty_connections_that_ask_for_much_at_once": "thirty floods at once",
        "large_values": "values of 64 MiB",
        "lists_of_all_keys": "lists of 200,000 keys",
    }
    return [
        Target(
            f"server CPU from a PING to its answer, beside {what}", f"hostile/{name}/ms", 5, "ms"
        )
        for name, what in kinds.items()
    ]


def _tokens() -> list[Target]:
    """What a token costs, and what strangers cost who has it."""
    troubles = {
        "slow": "5,000 slow connections",
        "half_open": "10,000 half-open handshakes",
        "noise": "random bytes",
        "flood": "a client that floods",
    }
    return [
        Target(
            "get, 50 connections, 1 in flight, with a token: throughput over that without",
            "tls/get, 50 x 1, 64 B/to_plain",
            0.6,
            at_least=True,
        ),
        Target(
            "10,000 nodes JOIN over new connections with a token", "tls/10000/seconds", 2.0, "s"
        ),
        Target("a handshake by token: server CPU", "tls/handshake_us", 160, "us"),
        Target("an idle connection with a token", "tls/connection", 16 * 1024, "B"),
        *(
            Target(f"99th percentile of a get beside {what}", f"strangers/{kind}/p99_ratio", 10)
            for kind, what in troubles.items()
        ),
    ]


TARGETS = [
    *_operations(),
    Target(
        "start of 10,000 ranks: server CPU over torch's",
        "start/10000/ours, c10d/cpu_to_torch",
        0.75,
    ),
    Target(
        "start of 19,000 ranks: server CPU over torch's",
        "start/19000/ours, c10d/cpu_to_torch",
        0.75,
    ),
    Target(
        "connect, JOIN and answer of 10,000 nodes: server CPU a node",
        "rendezvous/10000/ours, with connections/cpu_us",
        30,
        "us",
    ),
    Target(
        "10,000 nodes on open connections: first JOIN to last answer",
        "rendezvous/10000/ours, joins/seconds",
        0.15,
        "s",
    ),
    Target(
        "10,000 nodes, connections included",
        "rendezvous/10000/ours, with connections/seconds",
        0.45,
        "s",
    ),
    Target("rendezvous: growth exponent on open connections", "rendezvous/exponent", 1.1),
    Target(
        "rendezvous: growth exponent, connections included",
        "rendezvous/exponent with connections",
        1.1,
    ),
    Target("rendezvous: growth exponent of the server's CPU", "rendezvous/exponent of CPU", 1.1),
    Target("start: growth exponent", "start/exponent", 1.1),
    Target("start: growth exponent of the server's CPU", "start/exponent of CPU", 1.1),
    Target(
        "keep-alives of 10,000 nodes every 5 s: share of a core",
        "keepalive/10000/core_percent",
        2,
        "%",
    ),
    Target("one of 10,000 nodes lost: new round with all", "loss/10000/reformed_s", 0.5, "s"),
    Target("multi_set of 16,000 x 1 KiB: server CPU", "multi_set/ours, c10d/cpu_s", 0.02, "s"),
    Target(
        "ids of 100,000 ranks (782 keys of 128 B), waited for and read: server CPU a rank, c10d",
        "ids/1000/ours, c10d/cpu_us",
        80,
        "us",
    ),
    Target("the same, native", "ids/1000/ours, native/cpu_us", 80, "us"),
    Target("the same: server CPU over torch's", "ids/1000/ours, c10d/cpu_to_torch", 0.25),
    Target(
        "get of 1 MiB, HashStore: time over torch's", "large/HashStore/1 MiB/ours/get/to_torch", 1
    ),
    Target(
        "get of 64 MiB, HashStore: time over torch's", "large/HashStore/64 MiB/ours/get/to_torch", 1
    ),
    Target(
        "get of 1 MiB, TCPStore: time over torch's",
        "large/TCPStore/1 MiB/ours, native/get/to_torch",
        1,
    ),
    *_floods(),
    *_tokens(),
    Target("1,024 real handlers form a round", "handlers/1024/ours, server/seconds", 1, "s"),
    *_agents(),
    *_etcd_calls(),
    Target("256 nodes meet over etcd", "etcd_nodes/256/a key a node/seconds", 3, "s"),
    Target("1,000 nodes meet over etcd", "etcd_nodes/1000/a key a node/seconds", 15, "s"),
    Target(
        "1,000 nodes meet over etcd's gateway",
        "etcd_nodes/1000/a key a node, gateway/seconds",
        25,
        "s",
    ),
    Target("opening a FileStore of 1,000,000 keys", "filestore/open_s/1000000/ours", 1, "s"),
    Target(
        "FileStore: from a set in one process to the end of a get in another",
        "filestore/wait_us/ours",
        1000,
        "us",
    ),
    Target("FileStore: waiting for nothing", "filestore/idle_percent/ours", 0.5, "%"),
    # One look-up in the accept path would be a factor of ten.
    Target(
        "ranks connect with a slow name server: time over that with none",
        "nameserver/ours, c10d/slow_to_none",
        1.5,
    ),
    *(
        target
        for loop in ("asyncio", "uvloop")
        for target in (
            Target(
                f"100 tasks on {loop}: throughput over redis.asyncio's",
                f"aio/{loop}/over redis",
                3,
                at_least=True,
            ),
            Target(
                f"100 tasks on {loop}: throughput over the same protocol in plain Python",
                f"aio/{loop}/over plain",
                2,
                at_least=True,
            ),
            Target(f"a wait, of 10,000 of one task on {loop}", f"aio/{loop}/wait_bytes", 2048, "B"),
            Target(f"1,000 nodes of one task on {loop} have ranks", f"aio/{loop}/join_s", 2, "s"),
        )
    ),
    Target("one get on uvloop: time over the blocking store's", "aio/uvloop/latency", 1.3),
    Target("an idle connection, c10d", "memory/ours, c10d/connection", 1.2 * 1024, "B"),
    Target("an idle connection, native", "memory/ours, native/connection", 1.2 * 1024, "B"),
    Target("a scrape of a server with 10,000 connections", "monitor/scrape/ms", 50, "ms"),
    Target("the same: the server's part of it", "monitor/scrape/asked_ms", 5, "ms"),
    Target(
        "the page with 10,000 nodes and 50 events a second: share of a core",
        "monitor/page/percent",
        20,
        "%",
    ),
]


def table(figures: Mapping[str, float]) -> str:
    """The targets that were measured, as a table; and how many hold."""
    lines = ["| promise | wanted | measured | holds |", "|---|---:|---:|---|"]
    held = measured = 0
    for target in TARGETS:
        value = figures.get(target.figure)
        if value is None:
            lines.append(f"| {target.what} | {target.wanted()} | - | not measured |")
            continue
        measured += 1
        held += target.holds(value)
        unit = f" {target.unit}" if target.unit else ""
        said = "yes" if target.holds(value) else "**no**"
        shown = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        lines.append(f"| {target.what} | {target.wanted()} | {shown}{unit} | {said} |")
    lines += ["", f"{held} of {measured} measured promises hold ({len(TARGETS)} in all)."]
    return "\n".join(lines)
