"""`rendezvous status`: who is in a run and who is missing, or whether a server, or etcd, is there.

Reads only. Owns the arguments, and what is asked; how it is told is status_text.py's, and how a run
is followed follow.py's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousError,
    StoreConnectionError,
    StoreTimeoutError,
)
from rendezvous.cli import exits as _exit
from rendezvous.cli.look.follow import follow
from rendezvous.cli.look.status_place import add_place, place_of
from rendezvous.cli.look.status_text import as_text, outline
from rendezvous.cli.options import (
    RUN_ID_VARIABLE,
    OptionError,
    add_command,
    add_wait_for_server,
    seconds,
)
from rendezvous.cli.paint import Paint
from rendezvous.handler.as_json import event_as_json, report_as_json
from rendezvous.handler.examine import examine, is_complete

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.look.place import Place
    from rendezvous.cli.options import Subparsers

_TIMEOUT_S = 5.0
# Runs that are named without --all.
_RUNS_MAX = 100
_RUN_ID_BYTES_MAX = 1024

_DESCRIPTION = """\
Show who is in a run, and first who is missing: its round, whether the round is
complete, who takes part with which rank, who waits, and who was lost. status
only reads, so you can use it on a running job.

Without RUN_ID, show whether the server is there, how many keys it has, how long
a request takes, and all its runs. For etcd, show which members answer."""

_EXAMPLES = """\
examples:
  rendezvous status my-job --endpoint node0:29400
  rendezvous status my-job --expect 'gpu[000-063]'   name the missing ones
  rendezvous status my-job --follow          show each change, until Ctrl-C
  rendezvous status my-job --all             a line for each node of a large job
  rendezvous status my-job --json | jq .missing
  rendezvous status --endpoint node0         is the server there? which runs?
  rendezvous status my-job --backend etcd --endpoint etcd0:2379,etcd1:2379
  rendezvous status my-job --endpoint file:///shared/my-job

exit codes: 0 the run is complete or over, or the server is there, 1 no such
run, 2 wrong arguments, 3 the server, or etcd, cannot be reached or time is
over, 4 the run is there and its round is not complete, 130 Ctrl-C."""


def run_id(text: str) -> str:
    """The name of a run, as the server takes it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise OptionError(f"{text!r} is not UTF-8; a run id must be") from None
    if not 0 < size <= _RUN_ID_BYTES_MAX:
        raise OptionError(f"a run id has 1 to {_RUN_ID_BYTES_MAX} bytes; this one has {size}")
    return text


def run_id_from_environment(args: argparse.Namespace) -> str | None:
    """What RENDEZVOUS_RUN_ID says; None when unset or empty. Ends the command where it is wrong."""
    found = os.environ.get(RUN_ID_VARIABLE)
    try:
        return run_id(found) if found else None
    except OptionError as error:
        args.fail(f"${RUN_ID_VARIABLE}: {error}")
        raise  # for those who read types: fail() does not return


def add_parser(subparsers: Subparsers) -> None:
    """Add `status`."""
    parser = add_command(
        subparsers,
        "status",
        summary="show who is in a run and who is missing, or all runs of a server",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "run_id",
        metavar="RUN_ID",
        nargs="?",
        type=run_id,
        help=f"the run (default: ${RUN_ID_VARIABLE}, else all runs)",
    )
    parser.add_argument(
        "--run-id", dest="named_run_id", type=run_id, metavar="RUN_ID", help="the same, as for exec"
    )
    add_place(parser)
    parser.add_argument(
        "--expect",
        metavar="NODES",
        help="which nodes shall come, as for exec: names ('gpu[00-63]'), a number, file:PATH or"
        " slurm (default: what exec --expect of the run's nodes has said)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to try, connecting included (default: {_TIMEOUT_S:g})",
    )
    add_wait_for_server(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true",
        help="go on until Ctrl-C: on a terminal, draw again when something changes; else, or with"
        " --json, print a line for each change",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_true", help="a line for each node, however many; all runs"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, with all nodes; times in seconds"
    )
    parser.set_defaults(run=run)


def _complete(args: argparse.Namespace) -> None:
    """What of the arguments depends on others, and on the environment."""
    if args.run_id is not None and args.named_run_id not in (None, args.run_id):
        args.fail(f"two runs are named: {args.run_id!r} and, by --run-id, {args.named_run_id!r}")
    args.run_id = args.run_id or args.named_run_id
    if args.run_id is None:
        args.run_id = run_id_from_environment(args)
    if args.run_id is None:
        for name in ("follow", "expect"):
            if getattr(args, name):
                args.fail(f"--{name} is about the nodes of a run; give a RUN_ID")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. The exit codes are in the help."""
    _complete(args)
    deadline = Deadline.after(args.timeout)
    place = place_of(args, waits=args.wait_for_server)
    show = _show_all if args.run_id is None else follow if args.follow else _show_run
    try:
        return show(args, place, deadline)
    except (StoreConnectionError, StoreTimeoutError) as error:
        if args.json and args.run_id is None:
            _print_json({"endpoint": place.endpoint, "reachable": False})
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousConnectionError as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from error
    finally:
        place.close()


def _show_run(args: argparse.Namespace, place: Place, deadline: Deadline) -> int:
    report = examine(place, args.run_id, args.expect, deadline)
    if report is None:
        raise _exit.CommandError(unknown_text(args.run_id, place, deadline), _exit.NO)
    text = as_text(report, Paint(sys.stdout), all_nodes=args.all)
    fields = report_as_json(report)
    if args.json:
        fields["events"] = _events(args.run_id, place, deadline)
    _print(args, fields, text)
    return _exit.OK if is_complete(report.view) else _exit.NOT_COMPLETE


def _events(run_id: str, place: Place, deadline: Deadline) -> list[dict[str, Any]]:
    """What has happened, where it is recorded."""
    found = place.timeline(run_id, 0, deadline)
    return [] if found is None else [event_as_json(each) for each in found.events]


def unknown_text(run_id: str, place: Place, deadline: Deadline) -> str:
    """Why there is nothing to show, and which run may be meant."""
    similar = place.similar_runs(run_id, deadline)
    hint = f"; is {' or '.join(map(repr, similar))} meant?" if similar else ""
    return f"no such run: {run_id!r} at {place.endpoint}; nobody has joined it there{hint}"


def _show_all(args: argparse.Namespace, place: Place, deadline: Deadline) -> int:
    """The server, and a line for each of its runs."""
    found = place.probe(deadline)
    names = place.runs(deadline)
    shown = names if args.all or args.json else names[:_RUNS_MAX]
    lines, fields = [], []
    for name in shown:
        try:
            view = place.look_at_run(name, deadline, 0)
        except RendezvousError as error:
            if isinstance(error, RendezvousConnectionError):
                raise
            lines.append(f"  {name}  {error}")
            continue
        if view is None:  # nobody has joined it
            continue
        lost = f", lost: {view.counts.lost}" if view.counts.lost else ""
        closed = ", closed" if view.closed else ""
        lines.append(f"  {name}  {outline(view)}{lost}{closed}")
        fields.append(
            {
                "run_id": name,
                "round": view.round,
                "complete": view.complete,
                "closed": view.closed,
                "finished_round": view.finished_round,
                "participants": view.counts.participants,
                "min_nodes": view.settings.min_nodes if view.settings else None,
                "lost": view.counts.lost,
            }
        )
    if len(shown) < len(names):
        lines.append(f"  and {len(names) - len(shown)} more; --all shows them")
    if lines:
        lines.insert(0, f"runs: {len(lines)}")
    _print(args, {"endpoint": place.endpoint} | found.fields | {"runs": fields}, [
        *found.lines, *lines
    ])  # fmt: skip
    return _exit.OK


def _print(args: argparse.Namespace, fields: dict[str, Any], lines: list[str]) -> None:
    if args.json:
        _print_json(fields)
    else:
        print("\n".join(lines))


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))
