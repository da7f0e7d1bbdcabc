"""How long do N nodes need to meet over etcd, and what does a call cost beside other v3 clients?

    python bench/etcd_nodes.py [--short] [--runs N] [--nodes N...] [--timeout SECONDS] [--json FILE]

The nodes are handlers in threads of four processes; etcd is a private one, of one member, on this
machine. Measured is the time from the start of the first `next_rendezvous` to the end of the last
one, bootstrap store included: with a key a node over both transports, and with one state that all
nodes replace by compare-and-set. The calls are a get and a compare-and-set of 1 KiB by the
backends, ours over both transports. The peers, each in a process of its own, are the Python
clients of etcd's v3 API that are kept: etcd3gw, etcd-sdk-python and aetcd.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from _support.driver import raise_file_limit
from _support.etcd_calls import PEERS, Calls, backend_calls, median_ms
from _support.report import (
    Cell,
    Report,
    alternating,
    arguments,
    growth_exponent,
    parse,
    ratio,
)
from _support.rounds import Found, medians, play

from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdServer
from rendezvous.backends.etcd.server.binary import find_binary

CALLS = Path(__file__).parent / "_support" / "etcd_calls.py"
NAMES = {
    "etcd": "a key a node",
    "etcd gateway": "a key a node, gateway",
    "etcd state": "one state",
}
NODES = [64, 256, 1000]
SHORT = [16]
# One state of very many nodes is not waited for: the time grows with their square.
NODES_MAX = {"etcd state": 256}
# Ours, by transport; the first is the default, and the one that is promised.
OURS = {"ours, gRPC": "grpc", "ours, gateway": "gateway"}
PROMISED = "ours, gRPC"


class Peer:
    """A process that makes the calls by another client, and times them itself."""

    def __init__(self, stack: ExitStack, name: str, host: str, port: int) -> None:
        self._name = name
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(CALLS), name, host, str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self._process.kill)
        self._line()

    def median_ms(self, call: str, count: int) -> float:
        """As etcd_calls.median_ms."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{call} {count}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"etcd_nodes: {self._name} ended; its error is above")
        return line


def measure_calls(report: Report, runs: int, count: int) -> None:
    """The table of calls, ours beside those of the peers that are installed."""
    installed = [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module)]
    with ExitStack() as stack:
        server = stack.enter_context(EtcdServer())
        endpoint = server.get_endpoint()
        host, _, port = endpoint.rpartition(":")
        ours: dict[str, Calls] = {
            name: backend_calls(
                EtcdRendezvousBackend(EtcdClient(endpoint, transport=transport), transport)
            )
            for name, transport in OURS.items()
        }
        peers = {name: Peer(stack, name, host, int(port)) for name in installed}
        rows: list[list[Cell]] = []
        for call in ours[PROMISED]:
            measures: dict[str, Callable[[], dict[str, float]]] = {
                who: partial(lambda call: {"ms": median_ms(call, count)}, calls[call])
                for who, calls in ours.items()
            }
            for who, peer in peers.items():
                measures[who] = partial(
                    lambda peer, call: {"ms": peer.median_ms(call, count)}, peer, call
                )
            found = {who: each["ms"] for who, each in alternating(runs, measures).items()}
            rows.append([call, *found.values()])
            for who in peers:
                report.figure(f"etcd/{call}/to_{who}", ratio(found[PROMISED], found[who]))
    report.table("Milliseconds a call, medians", ["", *OURS, *peers], rows)
    report.left_out({name: "not installed" for name in PEERS if name not in installed})


def measure_nodes(sizes: list[int], runs: int, timeout_s: float) -> Found:
    """Rounds of every size, each run's of its own."""
    with EtcdServer() as server:
        endpoint = server.get_endpoint()
        return medians(
            list(NAMES),
            sizes,
            runs,
            lambda peer, nodes: play(peer, endpoint, nodes, timeout_s),
            limits=NODES_MAX,
        )


def tell_nodes(report: Report, sizes: list[int], found: Found) -> None:
    """The table, growth and plot of rounds."""
    rows: list[list[Cell]] = [
        [f"{nodes:,} nodes", *(found.seconds[nodes].get(peer) for peer in NAMES)] for nodes in sizes
    ]
    caption = "Seconds until the last node has its rank (-: why is said below)"
    report.table(caption, ["", *NAMES.values()], rows)
    found.tell_missing(report, NAMES)
    series = {
        name: [(n, found.seconds[n][peer]) for n in sizes if peer in found.seconds[n]]
        for peer, name in NAMES.items()
    }
    for name, points in series.items():
        for nodes, seconds in points:
            report.figure(f"etcd_nodes/{nodes}/{name}/seconds", seconds)
        if len(points) > 1:
            report.note(f"{name}: time grows with N to the {growth_exponent(points):.2f}")
    report.plot("etcd_nodes", "N nodes meet over etcd", "seconds", series)


def main() -> None:
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=None, help="how many nodes")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds (default: 120)")
    options = parse(parser)
    report = Report(__doc__, options)
    try:
        find_binary()
    except FileNotFoundError as error:
        report.left_out({"everything": str(error)})
        report.finish()
        return
    raise_file_limit()
    measure_calls(report, options.runs, 100 if options.short else 1000)
    sizes = options.nodes or (SHORT if options.short else NODES)
    tell_nodes(report, sizes, measure_nodes(sizes, options.runs, options.timeout))
    report.finish()


if __name__ == "__main__":
    main()
