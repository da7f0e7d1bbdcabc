"""`rendezvous push | pop | length | barrier | exchange`: queues and meetings of a store in a shell.

Values are bytes, as those of store_ops.py, which runs them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from rendezvous._base.errors import StoreTimeoutError
from rendezvous.cli import exits as _exit
from rendezvous.cli.options import whole_number
from rendezvous.cli.tools.store_ops import add_operation, read_value, write_value

if TYPE_CHECKING:
    import argparse

    from rendezvous._stores.store import Store
    from rendezvous.cli.options import Subparsers

_NODES_MAX = 1_000_000
_ROUNDS_MAX = 2**31 - 1


def add_parsers(subparsers: Subparsers) -> None:
    """Add the commands of this module."""
    _add_push(subparsers)
    _add_pop(subparsers)
    _add_length(subparsers)
    _add_barrier(subparsers)
    _add_exchange(subparsers)


def _add_push(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _push,
        "push",
        summary="append a value to a queue",
        description="Append a value to the end of a queue. A queue need not be created.",
        examples="  rendezvous push jobs shard-17\n  rendezvous push jobs - < job.json",
        no="refused by the server",
    )
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument("value", metavar="VALUE", help="the value; - reads it from stdin")


def _push(store: Store, args: argparse.Namespace, left_s: float) -> int:
    store.queue_push(os.fsencode(args.queue), read_value(args.value))
    return _exit.OK


def _add_pop(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _pop,
        "pop",
        summary="take the first value of a queue and print it",
        description=(
            "Take the first value of a queue and print it, byte for byte; on a terminal, followed\n"
            "by a newline. An empty queue is waited for; with --no-wait, it is told at once.\n"
            "Each value is given to one that asks, in the order in which they ask."
        ),
        examples=(
            "  rendezvous pop jobs --timeout 60\n"
            "  while job=$(rendezvous pop --no-wait jobs); do ./work $job; done"
        ),
        no="the queue is empty",
        waits=True,
    )
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument(
        "--no-wait", dest="wait", action="store_false", help="do not wait for a value"
    )


def _pop(store: Store, args: argparse.Namespace, left_s: float) -> int:
    queue = os.fsencode(args.queue)
    if not args.wait and store.queue_len(queue) == 0:
        raise _exit.CommandError(f"the queue {args.queue!r} is empty", _exit.NO)
    write_value(store.queue_pop(queue, args.wait, left_s))
    return _exit.OK


def _add_length(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _length,
        "length",
        summary="print how many values a queue has",
        description="Print how many values a queue has; 0 for one that nothing was pushed to.",
        examples="  rendezvous length jobs",
        no="refused by the server",
    )
    parser.add_argument("queue", metavar="QUEUE")


def _length(store: Store, args: argparse.Namespace, left_s: float) -> int:
    print(store.queue_len(os.fsencode(args.queue)))
    return _exit.OK


def _add_world_size(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        name,
        metavar="N",
        type=whole_number(1, _NODES_MAX),
        help="how many take part; all must say the same",
    )


def _add_barrier(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _barrier,
        "barrier",
        summary="wait until N arrive at a barrier",
        description=(
            "Wait until N commands arrive at the barrier of this name, then all go on. Each\n"
            "barrier needs a name of its own. With --rank, a command that is started again while\n"
            "others wait does not count twice, and the error says which ranks are missing; then\n"
            "the same name serves again with the next --round."
        ),
        examples=(
            "  rendezvous barrier loaded 4 --rank $RANK && ./start\n"
            "  rendezvous barrier step 4 --rank $RANK --round 2"
        ),
        no="not all came in time",
        waits=True,
    )
    parser.add_argument("name", metavar="NAME")
    _add_world_size(parser, "world_size")
    parser.add_argument(
        "--rank", type=whole_number(0, _NODES_MAX - 1), metavar="R", help="this one's, from 0"
    )
    parser.add_argument(
        "--round",
        type=whole_number(1, _ROUNDS_MAX),
        metavar="I",
        help="with --rank: which time it is that the ranks meet here (default: 1)",
    )


def _barrier(store: Store, args: argparse.Namespace, left_s: float) -> int:
    _check_rank(args)
    if args.round is not None and args.rank is None:
        args.fail("--round is for --rank")
    try:
        store.barrier(os.fsencode(args.name), args.world_size, left_s, args.rank, args.round)
    except StoreTimeoutError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    return _exit.OK


def _add_exchange(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _exchange,
        "exchange",
        summary="give a value and get those of all N ranks",
        description=(
            "Give a value, wait until all N ranks have given theirs, and print them all in the\n"
            "order of the ranks, a line each. With --json, they are one list of strings, whatever\n"
            "is in them."
        ),
        examples='  rendezvous exchange hosts $RANK $WORLD_SIZE "$(hostname)" > hostfile',
        no="not all came in time",
        waits=True,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "rank", metavar="R", type=whole_number(0, _NODES_MAX - 1), help="this one's rank, from 0"
    )
    _add_world_size(parser, "world_size")
    parser.add_argument("value", metavar="VALUE", help="the value; - reads it from stdin")
    parser.add_argument("--json", action="store_true", help="print a list of strings")


def _exchange(store: Store, args: argparse.Namespace, left_s: float) -> int:
    _check_rank(args)
    try:
        values = store.exchange(
            os.fsencode(args.name), args.rank, args.world_size, read_value(args.value), left_s
        )
    except StoreTimeoutError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    if args.json:
        print(json.dumps([value.decode("utf-8", "backslashreplace") for value in values]))
        return _exit.OK
    out = sys.stdout.buffer
    out.write(b"".join(value + b"\n" for value in values))
    out.flush()
    return _exit.OK


def _check_rank(args: argparse.Namespace) -> None:
    if args.rank is not None and args.rank >= args.world_size:
        args.fail(f"rank {args.rank} is not less than N, which is {args.world_size}")
