"""`rendezvous get | set | add | cas | wait | delete | keys`: one operation on a store.

Keys and values are bytes: arguments go to the store as the shell gave them, and `get` writes
what is stored, unchanged.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreTimeoutError,
)
from rendezvous._stores.store import Store
from rendezvous.backends.open_store import open_store
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import complain
from rendezvous.cli.options import (
    add_command,
    add_store,
    add_wait_for_server,
    check_not_refused,
    seconds,
    whole_number,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rendezvous.cli.options import Subparsers

    # One operation: the store, the arguments, seconds left for it; the exit code.
    Operation = Callable[[Store, argparse.Namespace, float], int]

_ANSWER_TIMEOUT_S = 5.0
# For those that wait for somebody else to do something.
_WAIT_TIMEOUT_S = 300.0
_INT64 = 2**63

_CODES = """
exit codes: 0 success, 1 {no}, 2 wrong arguments,
3 the store cannot be reached or does not answer in time, 130 Ctrl-C."""


def add_parsers(subparsers: Subparsers) -> None:
    """Add the commands of this module."""
    _add_get(subparsers)
    _add_set(subparsers)
    _add_add(subparsers)
    _add_cas(subparsers)
    _add_wait(subparsers)
    _add_delete(subparsers)
    _add_keys(subparsers)


def add_operation(
    subparsers: Subparsers,
    operation: Operation,
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    no: str,
    waits: bool = False,
) -> argparse.ArgumentParser:
    epilog = f"examples:\n{examples}\n{_CODES.format(no=no)}"
    parser = add_command(
        subparsers, name, summary=summary, description=description, examples=epilog
    )
    longer = f"; {_WAIT_TIMEOUT_S:g} when waiting for keys" if waits else ""
    add_store(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"how long to try, connecting included (default: {_ANSWER_TIMEOUT_S:g}{longer})",
    )
    add_wait_for_server(parser)
    parser.set_defaults(run=functools.partial(_run, operation), may_wait=waits)
    return parser


def _run(operation: Operation, args: argparse.Namespace) -> int:
    waits = args.may_wait and getattr(args, "wait", True)
    timeout_s: float = _ANSWER_TIMEOUT_S if args.timeout is None else args.timeout
    deadline = Deadline.after(timeout_s)
    try:
        store = _open(args, timeout_s)
        left_s = _WAIT_TIMEOUT_S if waits and args.timeout is None else deadline.left_s
        store.set_timeout(left_s)
        return operation(store, args, left_s)
    except StoreKeysMissingError as error:
        # The store has answered.
        raise _exit.CommandError(str(error), _exit.NO) from error
    except (StoreConnectionError, StoreTimeoutError) as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except StoreError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error


def _open(args: argparse.Namespace, timeout_s: float) -> Store:
    if not args.wait_for_server:
        check_not_refused(args.endpoint)
    try:
        return open_store(args.endpoint, timeout_s)
    except StoreError:
        raise
    except ValueError as error:
        args.fail(f"argument --endpoint: {error}")
        raise  # it has exited


def _add_get(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _get,
        "get",
        summary="print the value of a key",
        description=(
            "Print the value of a key, byte for byte; on a terminal, followed by a newline.\n"
            "If the key is missing, get says so at once; with --wait, it waits for the key."
        ),
        examples=(
            "  rendezvous get master --endpoint node0:29400\n"
            "  rendezvous get --wait --timeout 60 checkpoint > checkpoint.bin"
        ),
        no="no such key (with --wait: none in time)",
        waits=True,
    )
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("--wait", action="store_true", help="wait until the key is there")


def _get(store: Store, args: argparse.Namespace, left_s: float) -> int:
    key = os.fsencode(args.key)
    value = store.get(key, left_s) if args.wait else store.try_get(key)
    if value is None:
        raise _exit.CommandError(f"no such key: {args.key!r}", _exit.NO)
    write_value(value)
    return _exit.OK


def _add_set(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _set,
        "set",
        summary="set a key to a value",
        description="Set a key to a value, whatever it was before.",
        examples=(
            "  rendezvous set master 10.0.0.1\n  rendezvous set config - < config.json\n"
            "  rendezvous set alive/node0 yes --ttl 30    gone after 30 s, unless set again"
        ),
        no="refused by the server",
    )
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", help="the value; - reads it from stdin")
    parser.add_argument(
        "--ttl",
        type=seconds,
        metavar="SECONDS",
        help="delete the key after this time, unless it is set again (default: never)",
    )


def _set(store: Store, args: argparse.Namespace, left_s: float) -> int:
    value = read_value(args.value)
    if args.ttl is None:
        store.set(os.fsencode(args.key), value)
    else:
        store.set(os.fsencode(args.key), value, args.ttl)
    return _exit.OK


def _add_add(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _add_to,
        "add",
        summary="add to a counter and print it",
        description=(
            "Add N to the number stored at a key, in one step, and print the result.\n"
            "A missing key counts as 0."
        ),
        examples="  rendezvous add arrived\n  rendezvous add budget -5",
        no="the value is not a number",
    )
    parser.add_argument("key", metavar="KEY")
    parser.add_argument(
        "amount",
        metavar="N",
        nargs="?",
        type=whole_number(-_INT64, _INT64 - 1),
        default=1,
        help="what to add (default: 1)",
    )


def _add_to(store: Store, args: argparse.Namespace, left_s: float) -> int:
    print(store.add(os.fsencode(args.key), args.amount))
    return _exit.OK


def _add_cas(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _cas,
        "cas",
        summary="set a key if it has the expected value",
        description=(
            "Compare and set, in one step: if KEY has the value EXPECTED, set it to DESIRED.\n"
            "Prints the value that is there afterwards. EXPECTED '' matches a missing key."
        ),
        examples=(
            "  rendezvous cas leader '' node7       become leader unless there is one\n"
            "  rendezvous cas leader node7 node8    hand it on"
        ),
        no="the value was not EXPECTED",
    )
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("expected", metavar="EXPECTED")
    parser.add_argument("desired", metavar="DESIRED")


def _cas(store: Store, args: argparse.Namespace, left_s: float) -> int:
    value, swapped = store.compare_exchange(
        os.fsencode(args.key), os.fsencode(args.expected), os.fsencode(args.desired)
    )
    write_value(value)
    return _exit.OK if swapped else _exit.NO


def _add_wait(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _wait,
        "wait",
        summary="wait until keys are there",
        description="Wait until all the keys are there. Prints nothing.",
        examples=(
            "  rendezvous wait ready/0 ready/1 && ./start\n  rendezvous wait --timeout 3600 done"
        ),
        no="not all were there in time",
        waits=True,
    )
    parser.add_argument("keys", metavar="KEY", nargs="+")


def _wait(store: Store, args: argparse.Namespace, left_s: float) -> int:
    store.wait([os.fsencode(key) for key in args.keys], left_s)
    return _exit.OK


def _add_delete(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _delete,
        "delete",
        summary="delete keys",
        description=(
            "Delete keys. Missing keys are named on stderr. With --prefix, delete all keys that\n"
            "begin with PREFIX, and print how many those were."
        ),
        examples="  rendezvous delete ready/0 ready/1\n  rendezvous delete --prefix ready/",
        no="none of the keys was there",
    )
    parser.add_argument("keys", metavar="KEY", nargs="*")
    parser.add_argument("--prefix", metavar="PREFIX", help="all keys that begin with it; not empty")


def _delete(store: Store, args: argparse.Namespace, left_s: float) -> int:
    if args.prefix is not None:
        if args.keys or not args.prefix:
            args.fail("give keys, or --prefix with a PREFIX that is not empty")
        count = store.delete_prefix(os.fsencode(args.prefix))
        print(count)
        return _exit.OK if count else _exit.NO
    if not args.keys:
        args.fail("no key; give KEY..., or --prefix PREFIX")
    missing = [key for key in args.keys if not store.delete_key(os.fsencode(key))]
    told = f"no such key: {', '.join(map(repr, missing))}"
    if len(missing) == len(args.keys):
        raise _exit.CommandError(told, _exit.NO)
    if missing:
        complain("delete", told)
    return _exit.OK


def _add_keys(subparsers: Subparsers) -> None:
    parser = add_operation(
        subparsers,
        _keys,
        "keys",
        summary="list keys",
        description="List the keys, sorted, one per line; with PREFIX, those that begin with it.",
        examples="  rendezvous keys\n  rendezvous keys ready/",
        no="refused by the server",
    )
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="")


def _keys(store: Store, args: argparse.Namespace, left_s: float) -> int:
    names = sorted(store.list_keys(os.fsencode(args.prefix)))
    out = sys.stdout.buffer
    out.write(b"".join(name.encode("utf-8", "surrogateescape") + b"\n" for name in names))
    out.flush()
    return _exit.OK


def read_value(text: str) -> bytes:
    """An argument; - reads stdin."""
    return sys.stdin.buffer.read() if text == "-" else os.fsencode(text)


def write_value(value: bytes) -> None:
    out = sys.stdout.buffer
    out.write(value)
    if sys.stdout.isatty():
        out.write(b"\n")
    out.flush()
