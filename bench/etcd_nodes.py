"""How long do N nodes need to meet over etcd, and what does a call cost beside torch's v2 client?

    python bench/etcd_nodes.py [--short] [--runs N] [--nodes N...] [--timeout SECONDS] [--json FILE]

The nodes are handlers in threads of four processes; etcd is a private one, of one member, on this
machine. Measured is the time from the start of the first `next_rendezvous` to the end of the last
one, bootstrap store included: with a key a node, and with one state that all nodes replace by
compare-and-set. The calls are a get and a compare-and-set of 1 KiB by the backends, ours over both
transports. The peer, in a process of its own, is torch's etcd-v2 backend where
RDZV_BENCH_TORCH_PYTHON (or this Python) has torch and python-etcd, otherwise python-etcd, on which
that is built; on an etcd that still has v2 (3.4 or 3.5).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from _support.driver import raise_file_limit
from _support.etcd_calls import Calls, backend_calls, median_ms
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

from rendezvous._deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdServer
from rendezvous.backends.etcd._binary import find_binary
from rendezvous.backends.etcd._ports import free_ports

CALLS = Path(__file__).parent / "_support" / "etcd_calls.py"
NAMES = {"etcd": "a key a node", "etcd state": "one state"}
NODES = [64, 256, 1000]
SHORT = [16]
# One state of very many nodes is not waited for: the time grows with their square.
NODES_MAX = {"etcd state": 256}
# Ours, by transport; the first is the default, and the one that is promised.
OURS = {"ours, gRPC": "grpc", "ours, gateway": "gateway"}
PROMISED = "ours, gRPC"
NO_V2 = "no Python with python-etcd: neither this one nor RDZV_BENCH_TORCH_PYTHON's"


@contextmanager
def server_with_v2() -> Iterator[tuple[str, int]]:
    """An etcd that speaks v2 as well."""
    with tempfile.TemporaryDirectory() as folder:
        ports = free_ports(2, "127.0.0.1")
        clients, peers = (f"http://127.0.0.1:{port}" for port in ports)
        process = subprocess.Popen(
            [
                *(find_binary(), "--enable-v2", f"--data-dir={folder}/data"),
                *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
                *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
                f"--initial-cluster=default={peers}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client = EtcdClient(f"127.0.0.1:{ports[0]}")
            client.range(b"ready?", deadline=Deadline.after(60))
            client.close()
            yield "127.0.0.1", ports[0]
        finally:
            process.kill()
            process.wait()


def v2_python() -> str | None:
    """The interpreter that has torch's v2 client; one with torch as well goes first."""
    for python in (os.environ.get("RDZV_BENCH_TORCH_PYTHON"), sys.executable):
        if python is None:
            continue
        looked = subprocess.run(
            [python, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('etcd'))"],
            check=False,
        )
        if looked.returncode == 0:
            return python
    return None


class V2Client:
    """A process that makes the calls by torch's v2 client, and times them itself."""

    def __init__(self, stack: ExitStack, python: str, host: str, port: int) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(
                [python, str(CALLS), host, str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self._process.kill)
        self.name = self._line()

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
            raise SystemExit("etcd_nodes: torch's v2 client ended; its error is above")
        return line


def measure_calls(report: Report, runs: int, count: int) -> None:
    """The table of calls, ours beside torch's."""
    python = v2_python()
    with ExitStack() as stack:
        host, port = stack.enter_context(server_with_v2())
        ours: dict[str, Calls] = {
            name: backend_calls(
                EtcdRendezvousBackend(EtcdClient(f"{host}:{port}", transport=transport), transport)
            )
            for name, transport in OURS.items()
        }
        peer = None if python is None else V2Client(stack, python, host, port)
        rows: list[list[Cell]] = []
        for name in ours[PROMISED]:
            measures: dict[str, Callable[[], dict[str, float]]] = {
                who: partial(lambda call: {"ms": median_ms(call, count)}, calls[name])
                for who, calls in ours.items()
            }
            if peer is not None:
                measures[peer.name] = partial(
                    lambda peer, name: {"ms": peer.median_ms(name, count)}, peer, name
                )
            found = {who: each["ms"] for who, each in alternating(runs, measures).items()}
            to_peer = None if peer is None else ratio(found[PROMISED], found[peer.name])
            rows.append([name, *found.values(), *([] if peer is None else [to_peer])])
            report.figure(f"etcd/{name}/to_v2", to_peer)
        columns = [*OURS, *([] if peer is None else [peer.name, "gRPC/v2"])]
    report.table("Milliseconds a call, medians", ["", *columns], rows)
    if peer is None:
        report.left_out({"torch's client of v2": NO_V2})


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
