"""`rendezvous status`: who is in a run, or whether a server, or etcd, is there. Reads only.

Owns the arguments, and what is asked; how it is told is status_text.py's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousError,
    StoreConnectionError,
    StoreTimeoutError,
)
from rendezvous.cli import exits as _exit
from rendezvous.cli.look.status_place import add_place, open_place
from rendezvous.cli.look.status_text import as_json, as_text
from rendezvous.cli.options import (
    OptionError,
    add_command,
    add_wait_for_server,
    seconds,
)

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.look.status_place import Place
    from rendezvous.cli.options import Subparsers

_TIMEOUT_S = 5.0
# Nodes of one list that are shown without --all.
_SHOWN_MAX = 16
_RUN_ID_BYTES_MAX = 1024

_DESCRIPTION = """\
Show who is in a run: its round, whether the round is complete, who takes part
with which rank, who waits, and who was lost. status only reads, so you can use
it on a running job.

Without RUN_ID, show whether the server is there, how many keys it has, and how
long a request takes. For etcd, show which members answer."""

_EXAMPLES = """\
examples:
  rendezvous status my-job --endpoint node0:29400
  rendezvous status my-job --all             name every node of a large job
  rendezvous status my-job --json | jq .participants
  rendezvous status --endpoint node0         is the server there?
  rendezvous status my-job --backend etcd --endpoint etcd0:2379,etcd1:2379
  rendezvous status my-job --endpoint file:///shared/my-job

exit codes: 0 the run, or the server, is there, 1 no such run, 2 wrong
arguments, 3 the server, or etcd, cannot be reached or time is over,
130 Ctrl-C."""


def run_id(text: str) -> str:
    """The name of a run, as the server takes it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise OptionError(f"{text!r} is not UTF-8; a run id must be") from None
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
    deadline = Deadline.after(args.timeout)
    config: dict[str, str] = {}
    for pairs in args.rdzv_conf:
        config |= pairs
    try:
        place = open_place(args.endpoint, args.backend, config, args.wait_for_server)
    except ValueError as error:
        args.fail(str(error))
    try:
        if args.run_id is None:
            found = place.probe(deadline)
            _print(args, {"endpoint": place.endpoint} | found.fields, found.lines)
        else:
            _show_run(args, place, deadline)
    except (StoreConnectionError, StoreTimeoutError) as error:
        if args.json and args.run_id is None:
            _print_json({"endpoint": place.endpoint, "reachable": False})
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousConnectionError as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    finally:
        place.close()
    return _exit.OK


def _show_run(args: argparse.Namespace, place: Place, deadline: Deadline) -> None:
    limit = None if args.all or args.json else _SHOWN_MAX
    view = place.look_at_run(args.run_id, deadline, limit)
    if view is None:
        raise _exit.CommandError(
            f"no such run: {args.run_id!r} at {place.endpoint}; nobody has joined it there",
            _exit.NO,
        )
    excluded = place.excluded(args.run_id, deadline)
    named = {"endpoint": place.endpoint, "run_id": args.run_id}
    lines = as_text(view, args.run_id, place.endpoint, excluded)
    _print(args, named | as_json(view, excluded), lines)


def _print(args: argparse.Namespace, fields: dict[str, Any], lines: list[str]) -> None:
    if args.json:
        _print_json(fields)
    else:
        print("\n".join(lines))


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2))
