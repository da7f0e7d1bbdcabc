"""`rendezvous status`: who is in a run, or whether a server is there. Reads only.

Owns how both are told, as text and as JSON; what is told comes from _run_report.py.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from rendezvous._core import Node, TCPStore
from rendezvous._endpoint import format_endpoint
from rendezvous.cli import _exit
from rendezvous.cli._options import OptionError, add_command, add_endpoint, seconds
from rendezvous.cli._run_report import RunReport, look_at_run
from rendezvous.errors import RendezvousError, StoreConnectionError, StoreTimeoutError

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli._options import Subparsers

_TIMEOUT_S = 5.0
_PINGS = 5
# Nodes of one list that are shown without --all.
_SHOWN_MAX = 16
_RUN_ID_BYTES_MAX = 1024

_DESCRIPTION = """\
Who is in a run: its round, whether that is complete, who takes part with which
rank, who waits, who was lost. Looking joins nothing and changes nothing, so it
may be done to a job that runs.

Without RUN_ID: whether the server is there, how many keys it has, and how long
a request takes."""

_EXAMPLES = """\
examples:
  rendezvous status my-job --endpoint node0:29400
  rendezvous status my-job --all             name every node of a large job
  rendezvous status my-job --json | jq .participants
  rendezvous status --endpoint node0         is the server there?

exit codes: 0 the run, or the server, is there, 1 no such run, 2 wrong
arguments, 3 the server cannot be reached or time is over, 130 Ctrl-C."""


def run_id(text: str) -> str:
    """The name of a run, as the server takes it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise OptionError(f"{text!r} is not UTF-8, which run ids are") from None
    if not 0 < size <= _RUN_ID_BYTES_MAX:
        raise OptionError(f"a run id has 1 to {_RUN_ID_BYTES_MAX} bytes; this one has {size}")
    return text


def add_parser(subparsers: Subparsers) -> None:
    """Add `status`."""
    parser = add_command(
        subparsers,
        "status",
        summary="show who is in a run, or whether a server is there",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", type=run_id, help="the run (exec's --run-id)"
    )
    add_endpoint(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to try, connecting included (default: {_TIMEOUT_S:g})",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"name all nodes, not {_SHOWN_MAX} of each list"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with all nodes; times in seconds"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. The exit codes are in the help."""
    if args.all and args.run_id is None:
        args.fail("--all names the nodes of a run; give a RUN_ID")
    deadline_s = time.monotonic() + args.timeout
    host, port = args.endpoint
    try:
        store = TCPStore(host, port, wait_for_workers=False, timeout=args.timeout)
        try:
            if args.run_id is None:
                _show_server(args, store, deadline_s)
            else:
                _show_run(args, store, deadline_s)
        finally:
            store.close()
    except (StoreConnectionError, StoreTimeoutError) as error:
        if args.json and args.run_id is None:
            _print_json({"endpoint": format_endpoint(host, port), "reachable": False})
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    return _exit.OK


def _show_server(args: argparse.Namespace, store: TCPStore, deadline_s: float) -> None:
    keys = _within(store, deadline_s).num_keys()
    times_s = []
    for _ in range(_PINGS):
        begun_s = time.monotonic()
        _within(store, deadline_s).ping()
        times_s.append(time.monotonic() - begun_s)
    round_trip_s = statistics.median(times_s)
    endpoint = format_endpoint(*args.endpoint)
    if args.json:
        report = {"endpoint": endpoint, "reachable": True, "keys": keys}
        _print_json(report | {"round_trip_s": round_trip_s})
        return
    print(f"server at {endpoint}: reachable")
    print(f"keys: {keys}")
    print(f"round trip: {round_trip_s * 1000:.3f} ms")


def _within(store: TCPStore, deadline_s: float) -> TCPStore:
    store.set_timeout(max(0.0, deadline_s - time.monotonic()))
    return store


def _show_run(args: argparse.Namespace, store: TCPStore, deadline_s: float) -> None:
    limit = None if args.all or args.json else _SHOWN_MAX
    report = look_at_run(store, args.run_id, deadline_s, limit)
    endpoint = format_endpoint(*args.endpoint)
    if report is None:
        raise _exit.CommandError(
            f"no such run: {args.run_id!r} at {endpoint}; nobody has joined it there", _exit.NO
        )
    if args.json:
        _print_json({"endpoint": endpoint} | _as_json(report))
    else:
        print("\n".join(_as_text(report, endpoint)))


def _as_text(report: RunReport, endpoint: str) -> list[str]:
    keeper = "the server" if report.kept_by == "server" else "its nodes, by compare-and-set"
    lines = [f"run {report.run_id!r} at {endpoint}, kept by {keeper}", _round_text(report)]
    if report.last_call_left_s is not None:
        at_most = "at most " if report.kept_by == "store" else ""
        lines.append(f"last call: {at_most}{report.last_call_left_s:.1f} s left")
    if report.closed:
        lines.append("closed: it takes no more nodes")
    if report.finished_round:
        lines.append(f"finished: round {report.finished_round} was the last to end well")
    settings = report.settings
    if settings is not None:
        lines.append(
            f"settings: {settings.min_nodes} to {settings.max_nodes} nodes, "
            f"last call {settings.last_call_timeout:g} s, "
            f"keep-alive every {settings.keep_alive_interval:g} s, "
            f"lost after {settings.keep_alive_max_attempt} missed"
        )
    ranked = [
        (f"rank {rank}  " if rank >= 0 else "") + _node_text(node)
        for rank, node in report.participants
    ]
    lines += _list_text("participants", ranked, report.counts["participants"])
    for name, nodes in (
        ("waiting", report.waiting),
        ("spares", report.spares),
        ("lost", report.lost),
    ):
        if report.counts[name]:
            lines += _list_text(name, [_node_text(node) for node in nodes], report.counts[name])
    return lines


def _round_text(report: RunReport) -> str:
    if report.complete:
        return f"round {report.round}: complete, with {report.world_size} ranks"
    text = f"round {report.round}: forming"
    if report.settings is not None:
        text += f", {report.counts['participants']} of at least {report.settings.min_nodes} nodes"
    return text


def _list_text(name: str, lines: list[str], count: int) -> list[str]:
    text = [f"{name}: {count}", *(f"  {line}" for line in lines)]
    more = count - len(lines)
    if more > 0:
        text.append(f"  and {more} more; --all names them")
    return text


def _node_text(node: Node) -> str:
    return f"{node.addr} (pid {node.pid})"


def _as_json(report: RunReport) -> dict[str, Any]:
    settings = report.settings
    return {
        "run_id": report.run_id,
        "kept_by": report.kept_by,
        "round": report.round,
        "complete": report.complete,
        "closed": report.closed,
        "finished_round": report.finished_round,
        "world_size": report.world_size,
        "last_call_left_s": report.last_call_left_s,
        "settings": None
        if settings is None
        else {
            "min_nodes": settings.min_nodes,
            "max_nodes": settings.max_nodes,
            "last_call_timeout_s": settings.last_call_timeout,
            "keep_alive_interval_s": settings.keep_alive_interval,
            "keep_alive_max_attempt": settings.keep_alive_max_attempt,
        },
        "participants": [
            {"rank": rank if rank >= 0 else None} | _node_json(node)
            for rank, node in report.participants
        ],
        "waiting": [_node_json(node) for node in report.waiting],
        "spares": [_node_json(node) for node in report.spares],
        "lost": [_node_json(node) for node in report.lost],
    }


def _node_json(node: Node) -> dict[str, Any]:
    return {"addr": node.addr, "pid": node.pid, "local_id": node.local_id}


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))
