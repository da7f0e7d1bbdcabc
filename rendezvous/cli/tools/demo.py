"""`rendezvous demo`: real processes on this machine meet, lose one of them, and meet again.

Starts a server and the processes of demo_node.py, reads a line from each for each time they have
met, and prints what they say. The times are theirs. Ends exactly
those processes, however it ends: by signal, and by the end of their stdin if it is killed itself.
"""

from __future__ import annotations

import json
import logging
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
from rendezvous.cli.look.status_place import open_place
from rendezvous.cli.options import add_command, whole_number
from rendezvous.cli.paint import Paint
from rendezvous.cli.run.signals import SignalledError, SignalScope

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rendezvous.cli.options import Subparsers

_DESCRIPTION = """\
Start a server and N processes on this machine. The processes meet: each connects,
joins, learns its rank, and passes a barrier in the store. demo prints who got which
rank, and how long each step took, in milliseconds.

Then demo kills one of them (kill -9). The others notice and meet again, with a
process that stood by as a spare, and demo prints who was lost, who has its rank
now, and how long that took."""

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

exit codes: 0 all met, twice, 1 they did not, 130 Ctrl-C."""

_NODES_MAX = 256
# For processes that have said what they had to say, and for those told to end.
_END_S = 10.0
# For the process that stands by to come.
_SPARE_S = 60.0
_LOOK_S = 0.02
_TABLE_COLUMNS = 77
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

    def results(self) -> list[dict[str, Any]]:
        """What it has said by now; CommandError if that is an error."""
        found = []
        for line in self.output.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            result: dict[str, Any] = json.loads(line)
            if "error" in result:
                raise _exit.CommandError(f"process {self.process.pid} failed: {result['error']}")
            found.append(result)
        return found


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
            # What it would say of the rounds, and of who is lost, is what the demo shows.
            hush_server(logging.ERROR)
            endpoint = stack.enter_context(_SERVERS[backend]())
        except (StoreError, FileNotFoundError) as error:
            raise _exit.CommandError(str(error)) from error
        paint = Paint(sys.stdout)
        begin = time.monotonic()
        print(f"server at {endpoint}, starting {count} processes", flush=True)
        nodes: list[_Node] = []
        stack.callback(_end, nodes)
        stdin, parents_end = os.pipe()
        stack.callback(os.close, stdin)
        stack.callback(os.close, parents_end)
        for _ in range(count):
            nodes.append(_start(backend, endpoint, count, stdin))
        results = _collect(nodes, 1)
        total_s = time.monotonic() - begin
        results.sort(key=lambda result: int(result["rank"]))
        _print_table(results, paint)
        _check(results, count, total_s)
        if count > 1:
            spare = _start(backend, endpoint, count, stdin, "spare")
            nodes.append(spare)
            _lose_one(nodes, results, Where(backend, endpoint), paint)
    return _exit.OK


@dataclass(frozen=True)
class Where:
    """The place where they meet."""

    backend: str
    endpoint: str

    def wait_for_spare(self) -> None:
        """Until the one that stands by is listed. CommandError if it never is."""
        deadline = Deadline.after(_SPARE_S)
        place = open_place(self.endpoint, self.backend, {})
        try:
            while not ((view := place.look_at_run("demo", deadline, 1)) and view.counts.spares):
                deadline.sleep(_LOOK_S)
                if deadline.is_over:
                    raise _exit.CommandError("the spare did not come")
        finally:
            place.close()


def _lose_one(
    nodes: Sequence[_Node], before: Sequence[dict[str, Any]], where: Where, paint: Paint
) -> None:
    """Kill one before everybody's eyes, and tell what the others do."""
    where.wait_for_spare()
    lost = before[len(before) // 2]
    (victim,) = [node for node in nodes if node.process.pid == lost["pid"]]
    print(
        f"\na spare stands by; killing rank {lost['rank']}: " + paint.red(f"kill -9 {lost['pid']}"),
        flush=True,
    )
    killed_s = time.monotonic()
    victim.process.kill()
    *others, spare = [node for node in nodes if node is not victim]
    _collect([*others, spare], 2)
    after = [node.results()[1] for node in others]
    new = spare.results()[0]
    _check_again(before, [*after, new], lost)
    noticed_s = max(result["noticed_s"] for result in after) - killed_s
    met_s = max(result["met_s"] for result in [*after, new]) - killed_s
    told = next((result["changes"] for result in after if result["changes"]), "")
    told = told.partition("; waiting")[0]
    print("  " + paint.red(told or f"lost: pid {lost['pid']}"))
    print(f"  {'all others noticed after':<28}{noticed_s * 1000:>9.1f} ms")
    print(paint.green(f"  {'all met again after':<28}{met_s * 1000:>9.1f} ms"), end="")
    print(f", {max(0.0, met_s - noticed_s) * 1000:.1f} ms later, in round {new['round']}")
    print(f"  rank {new['rank']} is now pid {new['pid']}, the spare; all others kept their ranks")


def _check_again(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], lost: dict[str, Any]
) -> None:
    ranks = {result["pid"]: result["rank"] for result in after}
    kept = {result["pid"]: result["rank"] for result in before if result is not lost}
    rounds = {result["round"] for result in after}
    if len(rounds) != 1 or set(ranks.values()) != set(range(len(before))):
        raise _exit.CommandError(f"the processes do not agree: rounds {rounds}, ranks {ranks}")
    moved = [pid for pid, rank in kept.items() if ranks.get(pid) != rank]
    if moved:
        raise _exit.CommandError(f"the ranks of processes {moved} have changed")


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


def _start(backend: str, endpoint: str, count: int, stdin: int, part: str = "first") -> _Node:
    begun = str(time.monotonic())
    arguments = [json.dumps(sys.path), backend, endpoint, str(count), begun, part]
    return _Node(
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            # Ctrl-C is for the parent, which ends them; 32 tracebacks would say nothing.
            start_new_session=True,
        )
    )


def _collect(nodes: Sequence[_Node], times: int) -> list[dict[str, Any]]:
    """What each node has said when it has met the others so often, or has ended.

    The spare, which is the last one, meets them once less. CommandError as soon as one fails: the
    others would wait for it.
    """
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
                found = node.results()
                wanted = times - (times > 1 and node is nodes[-1])
                if len(found) >= wanted:
                    selector.unregister(key.fileobj)
                    results.append(found[-1])
                elif not chunk:
                    raise _ended(node)
    return results


def _ended(node: _Node) -> _exit.CommandError:
    code = _exit.of_child(node.process.wait())
    return _exit.CommandError(
        f"process {node.process.pid} ended with exit code {code} and without a result"
    )


def _print_table(results: Sequence[dict[str, Any]], paint: Paint) -> None:
    columns = paint.columns or _TABLE_COLUMNS
    # Of a narrow terminal, what it is about.
    phases = _PHASES if columns >= _TABLE_COLUMNS else _PHASES[2:3]
    head = f"{'node (address:pid)':<24}{'rank':>5}" + "".join(f"{name:>12}" for name in phases)
    print("\n" + paint.bold(head))
    for result in results:
        who = f"{result['address']}:{result['pid']}"
        times = "".join(f"{result[f'{name}_ms']:>12.1f}" for name in phases)
        print(f"{who:<24}{result['rank']:>5}{times}")
    slowest = "".join(f"{max(r[f'{name}_ms'] for r in results):>12.1f}" for name in phases)
    print(f"{'slowest, ms':<29}{slowest}\n")


def _check(results: Sequence[dict[str, Any]], count: int, total_s: float) -> None:
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
    print(f"total {total_s:.2f} s, from the first start to the last barrier", flush=True)


def _end(nodes: Sequence[_Node]) -> None:
    """End what still runs of exactly these processes, and reap all of them."""
    for node in nodes:
        if node.process.stdout is not None:
            node.process.stdout.close()
        if node.process.poll() is None:
            node.process.terminate()
    deadline = Deadline.after(_END_S)
    for node in nodes:
        try:
            node.process.wait(deadline.left_s)
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait()
