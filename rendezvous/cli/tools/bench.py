"""`rendezvous bench`: what operations and a rendezvous take here, from the wheel alone.

Times calls of the Python client, one in flight, against a server of its own or one that runs; then
lets nodes meet, as threads of this process. The server's own limits need a load driver that costs
less than Python does: bench/ in the sources has one.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import (
    RendezvousError,
    StoreConnectionError,
    StoreError,
    StoreTimeoutError,
)
from rendezvous._core import Server, TCPStore
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import hush_server
from rendezvous.cli.options import add_command, add_credentials, endpoint, seconds, whole_number
from rendezvous.cli.tools.bench_cluster import MODES, run_cluster

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rendezvous._base.api import RendezvousHandler
    from rendezvous.cli.options import Subparsers

_DESCRIPTION = """\
Measure how long get, set, add and compare_set take for one client, one call after
the other, and how long N nodes (threads of this process) take to meet. bench starts
its own server, unless --endpoint names one. On that server, bench uses keys and
runs with names of their own, and deletes them afterwards."""

_EXAMPLES = """\
examples:
  rendezvous bench
  rendezvous bench --endpoint node0:29400 --nodes 16
  rendezvous bench --seconds 5 --value 65536
  rendezvous bench --cluster dry-run               what would be done, by whom
  srun --ntasks-per-node=1 rendezvous bench --cluster
  rendezvous exec --endpoint node0 --nodes 4 -- rendezvous bench --cluster full

Times are those that a Python client sees. Python, not the server, limits how fast
threads of one process meet.

exit codes: 0 measured, 1 failed, 2 wrong arguments,
3 the server cannot be reached or time is over, 130 Ctrl-C."""

_NODES_MAX = 256
_NODES = 8
_VALUE_BYTES_MAX = 16 * 1024 * 1024
_ANSWER_TIMEOUT_S = 5.0
_JOIN_TIMEOUT_S = 60.0
_PERCENTILES = (50, 90, 99, 100)


def add_parser(subparsers: Subparsers) -> None:
    """Add `bench`."""
    parser = add_command(
        subparsers,
        "bench",
        summary="measure operations and a rendezvous here",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    # Not RENDEZVOUS_ENDPOINT: nobody's job is to be measured by accident.
    parser.add_argument(
        "--endpoint",
        type=endpoint,
        metavar="HOST[:PORT]",
        help="a running server (default: bench starts one)",
    )
    add_credentials(parser)
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=1.0,
        metavar="S",
        help="how long to measure each operation (default: 1)",
    )
    parser.add_argument(
        "--value",
        type=whole_number(0, _VALUE_BYTES_MAX),
        default=64,
        metavar="BYTES",
        help="size of the values (default: 64)",
    )
    parser.add_argument(
        "--nodes",
        type=whole_number(0, _NODES_MAX),
        metavar="N",
        help="how many nodes meet; 0 skips this (default: 8; with --cluster, as many as the"
        " launcher has)",
    )
    parser.add_argument(
        "--cluster",
        nargs="?",
        choices=MODES,
        const="quick",
        metavar="dry-run|quick|full",
        help="measure a network: start this on every node, with srun, mpirun or rendezvous exec;"
        " rank 0 prints and writes one report (default: quick)",
    )
    parser.add_argument(
        "--report",
        default="rendezvous-bench.json",
        metavar="FILE",
        help="of --cluster: where rank 0 writes the report; - for stdout (default:"
        " rendezvous-bench.json)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print. CommandError when the server fails."""
    if args.cluster is not None:
        return run_cluster(args)
    if args.nodes is None:
        args.nodes = _NODES
    try:
        with ExitStack() as stack:
            if args.endpoint is None:
                hush_server()
                server = stack.enter_context(Server("127.0.0.1", 0))
                host, port = server.host, server.port
            else:
                host, port = args.endpoint
            _measure(args, host, port)
    except (StoreConnectionError, StoreTimeoutError) as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except (StoreError, RendezvousError) as error:
        raise _exit.CommandError(str(error)) from error
    return _exit.OK


def _measure(args: argparse.Namespace, host: str, port: int) -> None:
    where = format_endpoint(host, port)
    prefix = f"rendezvous-bench/{os.urandom(6).hex()}/"
    begin = time.monotonic()
    store = TCPStore(host, port, wait_for_workers=False, timeout=_ANSWER_TIMEOUT_S)
    connected_s = time.monotonic() - begin
    whose = "a server started for this" if args.endpoint is None else "a server that runs"
    print(
        f"{whose} at {where}; connected in {connected_s * 1e3:.2f} ms; values of {args.value} B\n"
    )
    try:
        _print_operations(store, prefix, "x" * args.value, args.seconds)
        if args.nodes > 0:
            _print_rendezvous(where, prefix + "run", args.nodes)
    finally:
        # Handlers put names of their own before the run id, so that no prefix finds them all.
        for key in store.list_keys():
            if prefix in key:
                store.delete_key(key)


def _print_operations(store: TCPStore, prefix: str, value: str, seconds_each: float) -> None:
    key = prefix + "key"
    store.set(key, value)
    operations: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(key),
        "set": lambda: store.set(key, value),
        "add": lambda: store.add(prefix + "counter", 1),
        "compare_set": lambda: store.compare_set(key, value, value),
    }
    names = "".join(f"{'max' if p == 100 else f'p{p}':>10}" for p in _PERCENTILES)
    print(f"{'us a call':<14}{names}{'calls/s':>12}", flush=True)
    for name, operation in operations.items():
        times_s = _times(operation, seconds_each)
        cells = "".join(f"{_percentile(times_s, p) * 1e6:>10.1f}" for p in _PERCENTILES)
        print(f"{name:<14}{cells}{len(times_s) / sum(times_s):>12,.0f}", flush=True)


def _times(operation: Callable[[], object], seconds_each: float) -> list[float]:
    """Of at least one call, after one that is not counted; sorted."""
    operation()
    times_s: list[float] = []
    now = time.perf_counter()
    end = now + seconds_each
    while not times_s or now < end:
        begin = now
        operation()
        now = time.perf_counter()
        times_s.append(now - begin)
    return sorted(times_s)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest time that this percentage of all times does not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _print_rendezvous(where: str, run_id: str, nodes: int) -> None:
    with ExitStack() as stack:
        begin = time.monotonic()
        handlers = [stack.enter_context(_handler(where, run_id, nodes)) for _ in range(nodes)]
        connected_s = time.monotonic() - begin
        start = threading.Barrier(nodes)
        with concurrent.futures.ThreadPoolExecutor(nodes) as threads:
            times_s = sorted(threads.map(lambda handler: _join(handler, start), handlers))
    print(f"\nrendezvous of {nodes} nodes, threads of one process")
    print(f"  {'all connected after':<34}{connected_s * 1e3:>10.1f} ms")
    print(f"  {'first join to first answer':<34}{times_s[0] * 1e3:>10.1f} ms")
    print(f"  {'first join to last answer':<34}{times_s[-1] * 1e3:>10.1f} ms", flush=True)


def _join(handler: RendezvousHandler, start: threading.Barrier) -> float:
    start.wait()
    begin = time.monotonic()
    handler.next_rendezvous()
    return time.monotonic() - begin


@contextmanager
def _handler(where: str, run_id: str, nodes: int) -> Iterator[RendezvousHandler]:
    """The handler of one simulated node, shut down at the end."""
    # Here, because the package of handlers takes longer to import than most commands take.
    from rendezvous._base.api import RendezvousParameters
    from rendezvous.handler.registry import get_rendezvous_handler

    handler = get_rendezvous_handler(
        RendezvousParameters(
            "c10d",
            where,
            run_id,
            nodes,
            nodes,
            "127.0.0.1",
            is_host=False,
            join_timeout=_JOIN_TIMEOUT_S,
        )
    )
    try:
        yield handler
    finally:
        handler.shutdown()
