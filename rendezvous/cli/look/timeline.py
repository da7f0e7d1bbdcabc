"""`rendezvous timeline`: what has happened to a run. Reads only."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreConnectionError, StoreTimeoutError
from rendezvous.cli import exits as _exit
from rendezvous.cli.look.server_runs import ServerRuns
from rendezvous.cli.look.status import run_id, unknown_text
from rendezvous.cli.look.status_place import add_place, place_of
from rendezvous.cli.look.timeline_text import as_line
from rendezvous.cli.options import add_command, add_wait_for_server, seconds
from rendezvous.handler.as_json import event_as_json

if TYPE_CHECKING:
    import argparse

    from rendezvous._coordination.by_server.timeline import RunEvent, Timeline
    from rendezvous.cli.look.place import Place
    from rendezvous.cli.options import Subparsers

_TIMEOUT_S = 5.0
# With --follow, how often the server is asked.
_LOOK_EVERY_S = 0.5
# Kinds of events that end a round, or the run.
_OF_ROUNDS = ("complete", "finished", "run_failed", "closed")

_DESCRIPTION = """\
Show what has happened to a run, one line for each event: which nodes joined,
when each round was complete, how long it took and who came last, who was lost
and why, and what was refused.

Without RUN_ID, show the warnings that the server has logged.

The server records this for the runs that it keeps itself; it has no record of
runs in etcd, or kept by compare-and-set (rulebook=store)."""

_EXAMPLES = """\
examples:
  rendezvous timeline my-job --endpoint node0:29400
  rendezvous timeline my-job --rounds        one line for each round
  rendezvous timeline my-job --follow        go on with what happens now
  rendezvous timeline my-job --json | jq '.events[] | select(.kind == "lost")'

exit codes: 0 the run is there, 1 no such run, 2 wrong arguments, 3 the server
cannot be reached or time is over, 130 Ctrl-C."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `timeline`."""
    parser = add_command(
        subparsers,
        "timeline",
        summary="show what has happened to a run",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", type=run_id, help="the run (exec's --run-id)"
    )
    add_place(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to try, connecting included (default: {_TIMEOUT_S:g})",
    )
    add_wait_for_server(parser)
    parser.add_argument(
        "--rounds", action="store_true", help="show only how rounds, and the run, ended"
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on with what happens, until Ctrl-C"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON; with --follow, an object a line"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for. The exit codes are in the help."""
    place = place_of(args, waits=args.wait_for_server)
    try:
        found = _look(args, place, 0)
        while args.follow:
            for event in _wanted(args, found.events):
                print(json.dumps(event_as_json(event)) if args.json else as_line(event), flush=True)
            time.sleep(_LOOK_EVERY_S)
            found = _look(args, place, found.next)
        events = _wanted(args, found.events)
        if args.json:
            named = {"endpoint": place.endpoint, "run_id": args.run_id}
            print(
                json.dumps(named | {"events": [event_as_json(each) for each in events]}, indent=2)
            )
        else:
            print("\n".join([as_line(each) for each in events] or ["nothing has happened"]))
    except (StoreConnectionError, StoreTimeoutError) as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    finally:
        place.close()
    return _exit.OK


def _look(args: argparse.Namespace, place: Place, first: int) -> Timeline:
    deadline = Deadline.after(args.timeout)
    is_server = isinstance(place, ServerRuns)
    found = place.timeline(args.run_id or "", first, deadline) if is_server else None
    if found is not None:
        return found
    if not is_server or place.look_at_run(args.run_id, deadline, 0) is not None:
        raise _exit.CommandError(
            f"there is no timeline at {place.endpoint}: a server records what happens to the runs "
            "that it keeps itself, and this one is kept by its nodes"
        )
    raise _exit.CommandError(unknown_text(args.run_id, place, deadline), _exit.NO)


def _wanted(args: argparse.Namespace, events: list[RunEvent]) -> list[RunEvent]:
    return [each for each in events if not args.rounds or each.kind in _OF_ROUNDS]
