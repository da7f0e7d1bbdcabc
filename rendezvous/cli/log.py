"""Log lines of the command: to stderr, readable, one a line.

Only the command configures logging; the library logs to the logger `rendezvous` and leaves the
rest to its user. stdout belongs to results and to the command that `exec` runs.
"""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("rendezvous")


def set_up_logging(verbose: bool) -> None:
    """Send the library's log to stderr: from INFO on, or from DEBUG on when `verbose`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("rendezvous: %(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    )
    # Called once a process, but tests call main() several times in one.
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    # People read this log; programs have --event-log.
    logging.getLogger("rendezvous.events").setLevel(logging.INFO if verbose else logging.WARNING)


def hush_server() -> None:
    """Keep what a server of the command's own says of each round out of the log; errors stay."""
    logging.getLogger("rendezvous.server").setLevel(logging.WARNING)


def complain(command: str, message: str) -> None:
    """Write the line that says why `rendezvous <command>` ends."""
    print(f"rendezvous {command}: {message}", file=sys.stderr, flush=True)
