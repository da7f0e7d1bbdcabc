"""`rendezvous close`: end a run for all of its nodes, from a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousError,
    StoreConnectionError,
    StoreTimeoutError,
)
from rendezvous.cli import exits as _exit
from rendezvous.cli import options as _options
from rendezvous.cli.look.status import run_id
from rendezvous.cli.look.status_place import add_place, place_of
from rendezvous.handler.observed import ObservedHandler
from rendezvous.handler.registry import get_rendezvous_handler

if TYPE_CHECKING:
    import argparse

    from rendezvous._base.api import RendezvousParameters
    from rendezvous.cli.options import Subparsers

_TIMEOUT_S = 30.0
_TIMEOUT_S_MIN = 0.1

_DESCRIPTION = """\
End a run for all of its nodes: those that take part stop their commands, those that
wait are dismissed, and no node can join any more. Each exec ends with exit code 1,
or with 93 (do not start again) if you say --do-not-restart, and says the reason."""

_EXAMPLES = """\
examples:
  rendezvous close my-job --reason "wrong data set" --endpoint node0:29400
  rendezvous close my-job --reason "broken data" --do-not-restart
  rendezvous close my-job --backend etcd --endpoint etcd0:2379,etcd1:2379
  rendezvous close my-job --endpoint file:///shared/my-job

exit codes: 0 the run is closed, 1 no such run, 2 wrong arguments, 3 the server, or
etcd, cannot be reached or time is over, 130 Ctrl-C."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `close`."""
    parser = _options.add_command(
        subparsers,
        "close",
        summary="end a run for all of its nodes",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("run_id", metavar="RUN_ID", type=run_id, help="the run (exec's --run-id)")
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="shown to the nodes of the run"
    )
    parser.add_argument(
        "--do-not-restart",
        action="store_true",
        help="the run has failed for good: to start its nodes again is of no use; also for a run"
        " that is closed already",
    )
    add_place(parser)
    parser.add_argument(
        "--timeout",
        type=_options.seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to try, connecting included (default: {_TIMEOUT_S:g})",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Close the run. The exit codes are in the help."""
    deadline = Deadline.after(args.timeout)
    place = place_of(args, waits=None)
    try:
        view = place.look_at_run(args.run_id, deadline, limit=1)
        if view is None:
            raise _exit.CommandError(
                f"no such run: {args.run_id!r} at {place.endpoint}; nobody has joined it there",
                _exit.NO,
            )
        if not view.closed or (args.do_not_restart and not view.failed):
            _close(place.parameters(args.run_id, view), args, deadline)
    except (StoreConnectionError, StoreTimeoutError, RendezvousConnectionError) as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except RendezvousError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    finally:
        place.close()
    how = ", and is not to be restarted" if args.do_not_restart else ""
    print(f"run {args.run_id!r} at {place.endpoint} is closed{how}")
    return _exit.OK


def _close(parameters: RendezvousParameters, args: argparse.Namespace, deadline: Deadline) -> None:
    """By a handler that joins nothing."""
    for name in ("join_timeout", "close_timeout"):
        parameters.config.setdefault(name, max(deadline.left_s, _TIMEOUT_S_MIN))
    handler = get_rendezvous_handler(parameters)
    try:
        assert isinstance(handler, ObservedHandler)
        handler.set_closed(args.reason, do_not_restart=args.do_not_restart)
    finally:
        handler.shutdown()
