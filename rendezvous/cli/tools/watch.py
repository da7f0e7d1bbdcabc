"""`rendezvous watch`: the changes of a key, or of all keys with a prefix, a line each."""

from __future__ import annotations

import base64
import json
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from rendezvous._base.errors import StoreConnectionError, StoreError, StoreTimeoutError
from rendezvous.cli import exits as _exit
from rendezvous.cli.options import add_command, add_store, add_wait_for_server, check_not_refused
from rendezvous.cli.options import seconds as seconds_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rendezvous.aio import Store
    from rendezvous.cli.options import Subparsers

    Show = Callable[[str, int, bytes | None], None]

_EXAMPLES = """\
examples:
  rendezvous watch master --endpoint node0:29400
  rendezvous watch ready/ --json | jq .key

exit codes: 1 refused by the server, 2 wrong arguments,
3 the store cannot be reached, 130 Ctrl-C."""
_CONNECT_S = 5.0


def add_parser(subparsers: Subparsers) -> None:
    """Add `watch`."""
    parser = add_command(
        subparsers,
        "watch",
        summary="print the changes of a key, or of a prefix",
        description=(
            "Print the current values and then every change, one per line, until Ctrl-C.\n"
            "A KEY that ends with / means all keys that begin with it. Quick successive\n"
            "changes may be printed as one; the last one is always printed."
        ),
        examples=_EXAMPLES,
    )
    add_store(parser)
    parser.add_argument("key", metavar="KEY|PREFIX/")
    parser.add_argument(
        "--json",
        action="store_true",
        help="for programs: key, version, and value (null when deleted; for bytes that are not "
        "UTF-8, value_base64)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds_of,
        metavar="SECONDS",
        default=_CONNECT_S,
        help=f"for connecting (default: {_CONNECT_S:g})",
    )
    add_wait_for_server(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import asyncio

    try:
        if not args.wait_for_server:
            check_not_refused(args.endpoint)
        asyncio.run(_watch(args))
    except (StoreConnectionError, StoreTimeoutError) as error:
        raise _exit.CommandError(str(error), _exit.UNREACHABLE) from error
    except StoreError as error:
        raise _exit.CommandError(str(error), _exit.NO) from error
    except ValueError as error:
        args.fail(f"argument --endpoint: {error}")
    return _exit.OK


async def _watch(args: argparse.Namespace) -> None:
    import rendezvous.aio

    show = _show_json if args.json else _show
    async with rendezvous.aio.connect(args.endpoint, args.timeout) as store:
        await _follow(store, os.fsencode(args.key), show)


async def _follow(store: Store, key: bytes, show: Show) -> None:
    if key.endswith(b"/"):
        async with aclosing(store.watch_prefix(key)) as changes:
            async for name, version, value in changes:
                show(name, version, value)
    else:
        name = key.decode("utf-8", "surrogateescape")
        async for version, value in store.watch(key):
            show(name, version, value)


def _show(key: str, version: int, value: bytes | None) -> None:
    shown = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if value is None:
        print(f"{shown} is gone", flush=True)
    else:
        print(f"{shown} = {value.decode('utf-8', 'backslashreplace')}", flush=True)


def _show_json(key: str, version: int, value: bytes | None) -> None:
    found: dict[str, object] = {"key": key, "version": version, "value": None}
    if value is not None:
        try:
            found["value"] = value.decode()
        except UnicodeDecodeError:
            del found["value"]
            found["value_base64"] = base64.b64encode(value).decode()
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
