"""`--http` of commands that serve a store: the options, and the monitor that they ask for.

The monitor itself is rendezvous.monitor's, and is imported where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rendezvous._base.errors import StoreError
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger

if TYPE_CHECKING:
    import argparse

    from rendezvous._core import Server
    from rendezvous.monitor import Monitor, MonitorSecurity

__all__ = ["add_http", "check_http", "open_monitor"]


def add_http(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Add --http and what belongs to it.

    Args:
        where: on which node.
    """
    parser.add_argument(
        "--http",
        metavar="HOST[:PORT]",
        help=f"serve a page, Prometheus' metrics and status over HTTP{where}, such as"
        " 127.0.0.1:9109; beyond loopback, it needs the options --http-... (default: off)",
    )
    for name, what in (
        ("--http-cert", "certificate for HTTP, and those between it and its authority (PEM)"),
        ("--http-key", "its private key (PEM)"),
        ("--http-token-file", "tokens of readers, one a line: what HTTP is asked with"),
    ):
        parser.add_argument(name, metavar="FILE", help=what)


def check_http(args: argparse.Namespace) -> None:
    """Raises CommandError for what is wrong with the options, before anything is started."""
    if args.http is None:
        for name in ("http_cert", "http_key", "http_token_file"):
            if getattr(args, name) is not None:
                args.fail(f"--{name.replace('_', '-')} needs --http")
        return
    from rendezvous.monitor import place_of

    try:
        place_of(args.http, _security(args))
    except (StoreError, ValueError) as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from error


def open_monitor(args: argparse.Namespace, server: Server, name: str | None = None) -> Monitor:
    """Raises StoreError, ValueError."""
    from rendezvous.monitor import Monitor

    monitor = Monitor(server, args.http, security=_security(args), name=name)
    if monitor.missing:
        logger.warning("%smetrics: %s", monitor.url, monitor.missing)
    logger.info("the monitor is at %s", monitor.url)
    return monitor


def _security(args: argparse.Namespace) -> MonitorSecurity:
    from rendezvous.monitor import MonitorSecurity

    return MonitorSecurity(args.http_cert, args.http_key, args.http_token_file)
