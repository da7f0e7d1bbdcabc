"""`rendezvous serve`: a store server as a process of its own."""

from __future__ import annotations

import resource
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import StoreError
from rendezvous._core import Server, server_limits
from rendezvous.cli import exits as _exit
from rendezvous.cli.http_options import add_http, check_http, open_monitor
from rendezvous.cli.log import add_log_format, logger
from rendezvous.cli.options import (
    DEFAULT_PORT,
    OptionError,
    add_command,
    add_credentials,
    add_insecure,
    port,
    whole_number,
)
from rendezvous.cli.run.signals import SignalledError, SignalScope
from rendezvous.cli.tools.serve_log import LOOK_S, RunLog

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.options import Subparsers

_DESCRIPTION = """\
Run the store server until it is stopped.

Any number of jobs can use it, each under its own run id. You do not need it if
one of the job's nodes hosts the store; but a separate server outlives every node.

The server listens on this machine only, unless --host names another address. On
the network of a cluster, use --host 0.0.0.0 or the address of one interface.
There it asks its clients for a token (see `rendezvous token`), and does not start
without one or certificates: everybody who can reach the port could read and change
what is stored. With --insecure it does, and they can."""

_EXAMPLES = """\
examples:
  rendezvous serve                       this machine only, port 29400
  rendezvous token --save                once: a secret for all your jobs
  rendezvous serve --host 0.0.0.0        for other machines as well
  rendezvous serve --port 0              any free port; the log says which
  rendezvous serve --http 127.0.0.1:9109 a page for browsers, and Prometheus' metrics
  rendezvous serve --limit stored_bytes=1000000000 --limit connections=5000
                                         limits that differ from the defaults

The line "listening on HOST:PORT" on stderr says that the server is ready;
another says how many connections it has room for.

SIGQUIT (Ctrl-\\) makes it print all runs, with what has happened to them, on stderr.

exit codes: 0 after SIGTERM, 130 after Ctrl-C, 1 when the port cannot be used."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `serve`."""
    parser = add_command(
        subparsers,
        "serve",
        summary="run a store server",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to listen on, or a Unix socket, unix:///PATH"
        " (default: 127.0.0.1, this machine only)",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help=f"port to listen on; 0 picks a free one (default: {DEFAULT_PORT})",
    )
    parser.add_argument(
        "--listen-fd",
        type=whole_number(0, 1_000_000),
        metavar="FD",
        help="serve on this file descriptor, an already bound socket, instead of --host and --port",
    )
    parser.add_argument(
        "--limit",
        dest="limits",
        type=limit,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a limit on what clients may use (bytes, milliseconds or a count); may be given "
        f"several times; the names are {', '.join(server_limits())}",
    )
    add_insecure(parser)
    add_credentials(parser, hosts=True)
    add_http(parser)
    add_log_format(parser)
    parser.set_defaults(run=run)


def limit(text: str) -> tuple[str, int]:
    """`connections=100` as ("connections", 100)."""
    name, equals, value = text.partition("=")
    names = server_limits()
    if not equals or not (value.isascii() and value.isdigit()):
        raise OptionError(f"{text!r} is not NAME=VALUE with a whole number")
    if name not in names:
        raise OptionError(f"unknown limit {name!r}; the server's limits are {', '.join(names)}")
    return name, int(value)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM (0), SIGINT or SIGHUP (128 + number); SIGQUIT prints what is there."""
    check_http(args)
    ending = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with SignalScope(*ending, harmless=signal.SIGQUIT) as signals:
        try:
            signum = _serve(args, signals)
        except SignalledError as stop:
            signum = stop.signum
        logger.info("stopped by %s", _exit.signal_name(signum))
    # SIGTERM is how a server is stopped in the ordinary way: a success for its supervisor.
    return _exit.OK if signum == signal.SIGTERM else _exit.of_signal(signum)


def _server(args: argparse.Namespace) -> Server:
    more: dict[str, Any] = {"limits": dict(args.limits), "insecure": args.insecure}
    if args.listen_fd is None:
        return Server(args.host, args.port, **more)
    return Server(listen_fd=args.listen_fd, **more)


def _raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one: this process is nothing but a server.

    A server in somebody else's process does so only when its descriptors have run out.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS takes no "unlimited"
        logger.debug("the limit of open files stays at %d: %s", soft, error)


def _serve(args: argparse.Namespace, signals: SignalScope) -> int:
    _raise_open_files()
    # A name is looked up here, which can take long.
    try:
        server = signals.during(lambda: _server(args))
    except (StoreError, ValueError) as error:
        raise _exit.CommandError(str(error)) from error
    with server, _monitor(args, server):
        logger.info("listening on %s", format_endpoint(server.host, server.port))
        run_log = RunLog()
        while True:
            for signum in signals.wait(LOOK_S):
                if signum != signal.SIGQUIT:
                    return signum
                _dump(server)
            for level, line in run_log.lines(server.report(run_log.after)):
                logger.log(level, "%s", line)


def _monitor(args: argparse.Namespace, server: Server) -> AbstractContextManager[object]:
    if args.http is None:
        return nullcontext()
    try:
        return open_monitor(args, server)
    except (StoreError, ValueError) as error:
        raise _exit.CommandError(str(error)) from error


def _dump(server: Server) -> None:
    from rendezvous.cli.look.dump import as_lines

    print("\n".join(as_lines(server.report())), file=sys.stderr, flush=True)
