"""How long do N nodes need to meet over etcd, and what does a call cost beside torch's v2 client?

    python bench/etcd_nodes.py [--short] [--runs N] [--nodes N...] [--timeout SECONDS] [--json FILE]

The nodes are handlers in threads of four processes; etcd is a private one, of one member, on this
machine. Measured is the time from the start of the first `next_rendezvous` to the end of the last
one, bootstrap store included: with a key a node, and with one state that all nodes replace by
compare-and-set. The calls are a get and a compare-and-set of 1 KiB; the peer is python-etcd, which
torch's etcd-v2 backend uses, on an etcd that still has v2 (3.4 or 3.5).
"""

from __future__ import annotations

import importlib
import math
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from _support.driver import raise_file_limit
from _support.report import Cell, Report, alternating, arguments, growth_exponent, parse

from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdServer
from rendezvous.backends.etcd._binary import find_binary
from rendezvous.backends.etcd._deadline import Deadline

try:
    python_etcd: Any = importlib.import_module("etcd")
except ImportError:
    python_etcd = None

PROCESSES = 4
PLAYER = Path(__file__).parent / "_support" / "etcd_player.py"
NAMES = {"auto": "a key a node", "store": "one state"}
NODES = [64, 256, 1000]
SHORT = [16]
# One state of very many nodes is not waited for: the time grows with their square.
STATE_NODES_MAX = 256
VALUE = b"x" * 1024


def meet(endpoint: str, rulebook: str, nodes: int, timeout_s: float) -> float:
    """Seconds of one round; infinity if it did not come together in time."""
    shares = [nodes // PROCESSES + (i < nodes % PROCESSES) for i in range(PROCESSES)]
    run_id = uuid.uuid4().hex
    players = [
        subprocess.Popen(
            [sys.executable, str(PLAYER), rulebook, endpoint, run_id]
            + [str(each) for each in (share, nodes, timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for share in shares
        if share
    ]
    try:
        lines = [_line(player) for player in players]
        if any(line != "ready" for line in lines):
            return math.inf
        for player in players:
            assert player.stdin is not None
            player.stdin.write("\n")
            player.stdin.flush()
        times = [[float(each) for each in _line(player).split()] for player in players]
        if any(len(each) != 2 or each[1] < 0 for each in times):
            return math.inf
        return max(end for _, end in times) - min(begin for begin, _ in times)
    finally:
        for player in players:
            player.kill()
            player.communicate()


def _line(player: subprocess.Popen[str]) -> str:
    assert player.stdout is not None
    return player.stdout.readline().strip()


@contextmanager
def server_with_v2() -> Iterator[tuple[str, int]]:
    """An etcd that speaks v2 as well."""
    with tempfile.TemporaryDirectory() as folder:
        ports = []
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
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
            client.range(b"ready?", deadline=Deadline(60))
            client.close()
            yield "127.0.0.1", ports[0]
        finally:
            process.kill()
            process.wait()


def our_calls(host: str, port: int) -> dict[str, Callable[[], object]]:
    backend = EtcdRendezvousBackend(EtcdClient(f"{host}:{port}"), "bench")
    answer = backend.set_state(VALUE)
    assert answer is not None
    token: list[Any] = [answer[1]]

    def replace() -> None:
        answer = backend.set_state(VALUE, token[0])
        assert answer is not None
        assert answer[2]
        token[0] = answer[1]

    return {"get": backend.get_state, "compare-and-set": replace}


def v2_calls(host: str, port: int) -> dict[str, Callable[[], object]]:
    client = python_etcd.Client(host=host, port=port)
    text = VALUE.decode()
    token = [client.write("/bench", text).modifiedIndex]

    def replace() -> None:
        token[0] = client.write("/bench", text, prevIndex=token[0]).modifiedIndex

    return {"get": lambda: client.read("/bench"), "compare-and-set": replace}


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
    _measure_calls(report, options.runs, 100 if options.short else 1000)
    sizes = options.nodes or (SHORT if options.short else NODES)
    found: dict[str, list[tuple[float, float]]] = {rulebook: [] for rulebook in NAMES}
    with EtcdServer() as server:
        for nodes in sizes:
            for rulebook, points in found.items():
                if rulebook == "store" and nodes > STATE_NODES_MAX:
                    continue
                seconds = statistics.median(
                    meet(server.get_endpoint(), rulebook, nodes, options.timeout)
                    for _ in range(options.runs)
                )
                if seconds < math.inf:
                    points.append((nodes, seconds))
                    report.figure(f"etcd_nodes/{nodes}/{NAMES[rulebook]}/seconds", seconds)
    rows: list[list[Cell]] = [
        [f"{nodes:,} nodes", *(dict(points).get(nodes) for points in found.values())]
        for nodes in sizes
    ]
    caption = "Seconds until the last node has its rank"
    report.table(
        f"{caption} (-: not asked, or not within {options.timeout:g} s)",
        ["", *NAMES.values()],
        rows,
    )
    for rulebook, points in found.items():
        if len(points) > 1:
            report.note(
                f"{NAMES[rulebook]}: time grows with N to the {growth_exponent(points):.2f}"
            )
    report.plot(
        "etcd_nodes",
        "N nodes meet over etcd",
        "seconds",
        {NAMES[rulebook]: points for rulebook, points in found.items()},
    )
    report.finish()


def _measure_calls(report: Report, runs: int, count: int) -> None:
    if python_etcd is None:
        report.left_out({"torch's client of v2": "this Python has no python-etcd"})
    with server_with_v2() as (host, port):
        made = {"ours": our_calls(host, port)}
        if python_etcd is not None:
            made["python-etcd, v2"] = v2_calls(host, port)

        def measure(operation: Callable[[], object]) -> dict[str, float]:
            times = []
            for _ in range(count):
                begin = time.perf_counter()
                operation()
                times.append(time.perf_counter() - begin)
            return {"ms": statistics.median(times) * 1000}

        rows: list[list[Cell]] = []
        for name in made["ours"]:
            each = {peer: partial(measure, calls[name]) for peer, calls in made.items()}
            figures = alternating(runs, each)
            rows.append([name, *(figures[peer]["ms"] for peer in made)])
    report.table("Milliseconds a call, medians", ["", *made], rows)


if __name__ == "__main__":
    main()
