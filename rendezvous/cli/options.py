"""Types and options that several commands share. Turns text into values, and does nothing else.

A function used as argparse's `type` raises OptionError: its sentence is shown after
`argument --name:`, followed by exit code 2.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from rendezvous._base.arguments import FOREVER_S
from rendezvous._base.endpoint import format_endpoint, parse_endpoint
from rendezvous._base.errors import StoreConnectionError
from rendezvous._base.hosts import is_refused
from rendezvous._base.security import refuse_shown_token

if TYPE_CHECKING:
    from collections.abc import Callable

    Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# What argparse turns into "argument --name: ..." and exit code 2.
OptionError = argparse.ArgumentTypeError

DEFAULT_PORT = 29400
ENDPOINT_VARIABLE = "RENDEZVOUS_ENDPOINT"
RUN_ID_VARIABLE = "RENDEZVOUS_RUN_ID"
ETCD_BACKENDS = ("etcd", "etcd-v3")
_TLS_FILES = ("tls_cert", "tls_key", "tls_ca")
# Of the environment, what options on the command line stand for (csrc/bindings/credentials.h).
_CREDENTIALS = (
    "RENDEZVOUS_TOKEN_FILE",
    "RENDEZVOUS_TOKEN",
    "RENDEZVOUS_TOKEN_FD",
    *(f"RENDEZVOUS_{name.upper()}" for name in _TLS_FILES),
)


_HAVE_OPTIONS = {
    "backend": "--backend",
    "endpoint": "--endpoint",
    "run_id": "--run-id",
    "min_nodes": "--nodes",
    "max_nodes": "--nodes",
    "local_addr": "--local-addr",
}


def endpoint(text: str) -> tuple[str, int]:
    """`host`, `host:port` or `[v6]:port` as (host, port)."""
    try:
        return parse_endpoint(text, DEFAULT_PORT)
    except ValueError as error:
        raise OptionError(str(error)) from None


def store_url(text: str) -> str:
    """`HOST[:PORT]` of a server, or the URL of any store, as a URL."""
    if "://" in text:
        return text
    return f"tcp://{format_endpoint(*endpoint(text))}"


def endpoint_from_environment() -> str | None:
    """The endpoint that RENDEZVOUS_ENDPOINT names, as text; None when unset or empty."""
    return os.environ.get(ENDPOINT_VARIABLE) or None


def server_from_environment() -> str | None:
    """The same as `HOST[:PORT]`, also from the URL of a server's key space. None: no server."""
    text = endpoint_from_environment()
    is_other = text is not None and "://" in text and not text.startswith(("tcp://", "tcps://"))
    return None if is_other else outer_server()


def outer_server() -> str | None:
    """Of the run that this process is a command of, as exec's --endpoint names it."""
    text = endpoint_from_environment()
    return text and re.split("[/?#]", text.partition("://")[2] or text)[0]


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--endpoint` of a store that is there, as a URL, for commands that ask it something."""
    parser.add_argument(
        "--endpoint",
        type=store_url,
        # A string default goes through `type` too, so a wrong variable is told like a wrong option.
        default=endpoint_from_environment() or f"127.0.0.1:{DEFAULT_PORT}",
        metavar="HOST[:PORT]|URL",
        help="a server, or a store's URL: tcp://, tcps://, unix://, file://, etcd://"
        f" (default: ${ENDPOINT_VARIABLE}, else 127.0.0.1:{DEFAULT_PORT})",
    )

    add_credentials(parser)


def add_wait_for_server(parser: argparse.ArgumentParser) -> None:
    """Add `--wait-for-server`."""
    parser.add_argument(
        "--wait-for-server",
        action="store_true",
        help="if nothing listens there yet, try until the timeout instead of failing at once",
    )


def add_credentials(parser: argparse.ArgumentParser, *, hosts: bool = False) -> None:
    """Add --tls-cert and the like; `use_credentials` puts them where everything finds them.

    Args:
        hosts: whether the command serves a store.
    """
    own = "of the server" if hosts else "of this end"
    for name, what in (
        ("--tls-cert", f"certificate {own}, and those between it and the authority"),
        ("--tls-key", "the certificate's private key"),
        ("--tls-ca", "certificates of the authorities that vouch for the other end"),
    ):
        parser.add_argument(name, metavar="FILE", help=f"{what} (PEM; default: ${_variable(name)})")
    parser.add_argument(
        "--tls-name",
        metavar="NAME",
        help="what the server's certificate is for, if not the endpoint's host; *: any name"
        " (default: $RENDEZVOUS_TLS_NAME)",
    )


def add_insecure(parser: argparse.ArgumentParser) -> None:
    """Add --insecure, of commands that serve a store."""
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="serve other machines without a token or certificates as well"
        " (also: RENDEZVOUS_INSECURE=1)",
    )


def use_credentials(args: argparse.Namespace) -> None:
    """Put the options of `add_credentials` into the environment: all that connects looks there.

    They replace what stands there as a whole, as arguments do, for this process and its commands.
    """
    files = {name: getattr(args, name, None) for name in _TLS_FILES}
    if any(files.values()):
        for variable in _CREDENTIALS:
            os.environ.pop(variable, None)
    for name, path in files.items():
        if path:
            os.environ[_variable(name)] = str(Path(path).absolute())
    if server := getattr(args, "tls_name", None):
        os.environ["RENDEZVOUS_TLS_NAME"] = server


def _variable(option: str) -> str:
    return "RENDEZVOUS_" + option.lstrip("-").replace("-", "_").upper()


def check_not_refused(url: str, *, may_wait: bool = True) -> None:
    """Raise StoreConnectionError, at once, if nothing listens where a `tcp://` URL says.

    What else may be wrong is the store's to find out: this asks for a connection and no more.

    Args:
        may_wait: whether the command has --wait-for-server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("tcp", "tcps", "unix"):
        return
    where = f"unix://{unquote(parts.path)}" if parts.scheme == "unix" else parts.netloc
    try:
        host, port = parse_endpoint(where, DEFAULT_PORT)
    except ValueError:
        return
    if not is_refused(host, port):
        return
    raise StoreConnectionError(
        f"no store at {format_endpoint(host, port)}: connection refused: nothing listens there; "
        "start a server, or give "
        + ("--wait-for-server if one is about to start" if may_wait else "the right --endpoint")
    )


def nodes(text: str) -> tuple[int, int]:
    """`4` as (4, 4), `2:8` as (2, 8)."""
    low, colon, high = text.partition(":")
    try:
        pair = (int(low), int(high if colon else low))
    except ValueError:
        raise OptionError(f"{text!r} is not MIN or MIN:MAX; for example, give 4 or 2:8") from None
    if pair[0] < 1:
        raise OptionError(f"{text!r}: at least 1 node is needed")
    if pair[1] < pair[0]:
        raise OptionError(f"{text!r}: the maximum {pair[1]} is less than the minimum {pair[0]}")
    return pair


def conf(text: str) -> dict[str, str]:
    """`a=1,b=2` as a dictionary; empty parts are skipped."""
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise OptionError(
                f"{part!r} is not KEY=VALUE; for example, give join_timeout=60,last_call_timeout=5"
            )
        key = key.strip()
        if key in _HAVE_OPTIONS:
            option = _HAVE_OPTIONS[key]
            raise OptionError(f"{key} is not a setting of --rdzv-conf; use {option} instead")
        pairs[key] = value.strip()
    try:
        refuse_shown_token(pairs)
    except ValueError as error:
        raise OptionError(str(error)) from None
    return pairs


def seconds(text: str) -> float:
    """A time in seconds, 0 or more and finite; 30 years or more mean no limit."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(f"{text!r} is not a number of seconds, 0 or more")
    return min(value, FOREVER_S)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A type that accepts whole numbers from `low` to `high`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise OptionError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return convert


port = whole_number(0, 65535)


def add_command(
    subparsers: Subparsers,
    name: str,
    *,
    summary: str,
    description: str,
    examples: str,
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """A subcommand whose help ends with `examples`, shown as they are written."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        usage=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="log more, and show where in the code an error came from",
    )
    # For what is found wrong after parsing: shows this command's usage, and exits with 2.
    parser.set_defaults(fail=parser.error)
    return parser
