"""`rendezvous demo`: a server and some real processes on this machine that meet, with times.

Starts the processes of demo_node.py, reads a line from each, and prints a table. Ends exactly
those processes, however it ends: by signal, and by the end of their stdin if it is killed itself.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import StoreError
from rendezvous._core import Server
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import add_log_format, hush_server
from rendezvous.cli.options import add_command, whole_number
from rendezvous.cli.run.signals import SignalledError, SignalScope

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rendezvous.cli.options import Subparsers

_DESCRIPTION = """\
Start a server and N processes on this machine. The processes meet: each connects,
joins, learns its rank, and passes a barrier in the store. demo prints who got which
rank, and how long each step took, in milliseconds."""

_EXAMPLES = """\
examples:
  rendezvous demo
  rendezvous demo --nodes 32
  rendezvous demo --backend etcd    (starts its own etcd, if etcd is installed)

columns:
  start        creating the process, starting Python, importing rendezvous
  connect      opening the connection to the server
  rendezvous   joining, until the round is complete; this includes waiting for the
               process that starts last
  barrier      adding to a counter, and waiting until every process has

exit codes: 0 all met, 1 they did not, 130 Ctrl-C."""

_NODES_MAX = 256
# For processes that have said what they had to say, and for those told to end.
_END_S = 10.0
_PHASES = ("start", "connect", "rendezvous", "barrier")
# The child imports the package that the parent runs, wherever that came from: `-m` would look
# into the working directory first.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from rendezvous.cli.tools.demo_node import main; sys.exit(main())"
)


@dataclass
class _Node:
    process: subprocess.Popen[bytes]
    output: bytearray = field(default_factory=bytearray)


def add_parser(subparsers: Subparsers) -> None:
    """Add `demo`."""
    parser = add_command(
        subparsers,
        "demo",
        summary="see processes on this machine meet",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "--nodes",
        type=whole_number(1, _NODES_MAX),
        default=8,
        metavar="N",
        help="how many processes (default: 8)",
    )
    parser.add_argument(
        "--backend",
        choices=tuple(_SERVERS),
        default="c10d",
        help="where they meet: c10d, a rendezvous server, or etcd (default: c10d)",
    )
    add_log_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start, meet, print. CommandError when a node fails."""
    try:
        scope = SignalScope(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        # What the demo has started ends with the stack, also if a signal leaves it behind.
        with scope as signals, ExitStack() as stack:
            return signals.during(lambda: _demo(stack, args.nodes, args.backend))
    except SignalledError as stop:
        return _exit.of_signal(stop.signum)


def _demo(stack: ExitStack, count: int, backend: str) -> int:
    with stack:
        try:
            hush_server()  # what it would say of the round is what the table shows
            endpoint = stack.enter_context(_SERVERS[backend]())
        except (StoreError, FileNotFoundError) as error:
            raise _exit.CommandError(str(error)) from error
        begin = time.monotonic()
        print(f"server at {endpoint}, starting {count} processes", flush=True)
        nodes: list[_Node] = []
        stack.callback(_end, nodes)
        stdin, parents_end = os.pipe()
        stack.callback(os.close, stdin)
        stack.callback(os.close, parents_end)
        for _ in range(count):
            nodes.append(_start(backend, endpoint, count, stdin))
        results = _collect(nodes)
        total_s = time.monotonic() - begin
    results.sort(key=lambda result: int(result["rank"]))
    _print_table(results)
    return _check(results, count, total_s)


@contextmanager
def _serve() -> Iterator[str]:
    with Server("127.0.0.1", 0) as server:
        yield format_endpoint(server.host, server.port)


@contextmanager
def _serve_etcd() -> Iterator[str]:
    from rendezvous.backends.etcd import EtcdServer

    with EtcdServer() as server:
        yield server.get_endpoint()


_SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "c10d": _serve,
    "etcd": _serve_etcd,
}


def _start(backend: str, endpoint: str, count: int, stdin: int) -> _Node:
    arguments = [json.dumps(sys.path), backend, endpoint, str(count), str(time.monotonic())]
    return _Node(
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the parent, which ends them; 32 tracebacks would say nothing.
            start_new_session=True,
        )
    )


def _collect(nodes: Sequence[_Node]) -> list[dict[str, Any]]:
    """What each node measured. CommandError as soon as one fails: the others would wait for it."""
    results = []
    with selectors.DefaultSelector() as selector:
        for node in nodes:
            assert node.process.stdout is not None
            selector.register(node.process.stdout, selectors.EVENT_READ, node)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 65536)
                node = key.data
                node.output += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
                    results.append(_result(node))
    return results


def _result(node: _Node) -> dict[str, Any]:
    process = node.process
    try:
        result: dict[str, Any] = json.loads(node.output)
    except ValueError:
        code = _exit.of_child(process.wait())
        raise _exit.CommandError(
            f"process {process.pid} ended with exit code {code} and without a result"
        ) from None
    if "error" in result:
        raise _exit.CommandError(f"process {process.pid} failed: {result['error']}")
    return result


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"\n{'node (address:pid)':<24}{'rank':>5}" + "".join(f"{name:>12}" for name in _PHASES))
    for result in results:
        who = f"{result['address']}:{result['pid']}"
        times = "".join(f"{result[f'{name}_ms']:>12.1f}" for name in _PHASES)
        print(f"{who:<24}{result['rank']:>5}{times}")
    slowest = "".join(f"{max(r[f'{name}_ms'] for r in results):>12.1f}" for name in _PHASES)
    print(f"{'slowest, ms':<29}{slowest}\n")


def _check(results: Sequence[dict[str, Any]], count: int, total_s: float) -> int:
    ranks = {result["rank"] for result in results}
    sizes = {result["world_size"] for result in results}
    masters = {result["master"] for result in results}
    if ranks != set(range(count)) or sizes != {count} or len(masters) != 1:
        raise _exit.CommandError(
            f"the processes do not agree: ranks {sorted(ranks)}, world sizes {sorted(sizes)},"
            f" addresses of rank 0 {sorted(masters)}"
        )
    address, _, port = masters.pop().rpartition(":")
    print(f"{count} processes, {len(ranks)} distinct ranks, world size {count}")
    print(f"MASTER_ADDR={address} MASTER_PORT={port}")
    print(f"total {total_s:.2f} s, from the first start to the end of the last process")
    return _exit.OK


def _end(nodes: Sequence[_Node]) -> None:
    """End what still runs of exactly these processes, and reap all of them."""
    for node in nodes:
        if node.process.stdout is not None:
            node.process.stdout.close()
        if node.process.poll() is None and not node.output:
            node.process.terminate()
    deadline = Deadline.after(_END_S)
    for node in nodes:
        try:
            node.process.wait(deadline.left_s)
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait()
