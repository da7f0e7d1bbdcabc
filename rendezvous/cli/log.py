"""Log lines of the command: to stderr, one a line, for people or as JSON.

Only the command configures logging; the library logs to the logger `rendezvous` and leaves the
rest to its user. stdout belongs to results and to the command that `exec` runs. Each line says
when, on which host, and what is known of this node's place: run, round, rank.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rendezvous.cli.options import OptionError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_log_format", "complain", "hush_server", "logger", "note_place", "set_up_logging"]

logger = logging.getLogger("rendezvous")

FORMAT_VARIABLE = "RENDEZVOUS_LOG_FORMAT"
_FORMATS = ("text", "json")
# They run long, side by side with others: when and where something was said matters.
_DATED = ("exec", "serve", "demo")


@dataclass(frozen=True)
class _Place:
    """What each line says of this node. Empty, 0 and -1: not known yet."""

    run_id: str = ""
    node: str = ""
    round: int = 0
    rank: int = -1
    world_size: int = 0


# Replaced as a whole: several threads log.
_place = _Place()
_command = ""


def note_place(**changes: Any) -> None:
    """Of the lines from now on: run_id, node, round, rank, world_size."""
    global _place
    _place = replace(_place, **changes)


class _Text(logging.Formatter):
    """`rendezvous: 2030-01-31 12:00:01.123 INFO [node0 my-job round 2 rank 3] ...`."""

    def __init__(self) -> None:
        super().__init__()
        self._host = _host()

    def format(self, record: logging.LogRecord) -> str:
        text = f"rendezvous: {_when(record)} {record.levelname} {self._where()} {_said(record)}"
        return f"{text}\n{_traceback(record)}" if record.exc_info else text

    def _where(self) -> str:
        place = _place
        words = [self._host]
        if place.node and place.node != self._host:
            words.append(place.node)
        if place.run_id:
            words.append(place.run_id)
        if place.rank >= 0:
            words.append(f"round {place.round} rank {place.rank}")
        return f"[{' '.join(words)}]"


class _Json(logging.Formatter):
    """An object a line; numbers that are not known are left out."""

    def __init__(self) -> None:
        super().__init__()
        self._host = _host()

    def format(self, record: logging.LogRecord) -> str:
        milliseconds = f"{int(record.msecs):03}"
        zone = time.strftime("%z", time.localtime(record.created))
        fields: dict[str, Any] = {
            "time": _date(record, "%Y-%m-%dT%H:%M:%S") + f".{milliseconds}{zone}",
            "level": record.levelname,
            "logger": record.name,
            "host": self._host,
            "pid": os.getpid(),
            "command": _command,
        }
        place = asdict(_place)
        known = {"round", "rank", "world_size"} if _place.rank >= 0 else set()
        fields |= {key: place[key] for key in place if key in known or isinstance(place[key], str)}
        event = getattr(record, "event", None)
        if event is None:
            fields["message"] = _said(record)
        else:
            fields["event"] = asdict(event)
        if record.exc_info:
            fields["traceback"] = _traceback(record)
        return json.dumps(fields, default=str)


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _date(record: logging.LogRecord, pattern: str) -> str:
    return time.strftime(pattern, time.localtime(record.created))


def _when(record: logging.LogRecord) -> str:
    return f"{_date(record, '%Y-%m-%d %H:%M:%S')}.{int(record.msecs):03}"


def _said(record: logging.LogRecord) -> str:
    return record.getMessage()


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info
    return logging.Formatter().formatException(record.exc_info)


def _format(text: str) -> str:
    if text not in _FORMATS:
        raise OptionError(f"{text!r} is not a format of log lines; give text or json")
    return text


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """Add `--log-format`."""
    parser.add_argument(
        "--log-format",
        type=_format,
        default=os.environ.get(FORMAT_VARIABLE) or "text",
        metavar="text|json",
        help=f"of log lines, on stderr: for people, or an object a line (default:"
        f" ${FORMAT_VARIABLE}, else text)",
    )


def set_up_logging(verbose: bool, command: str = "", log_format: str = "text") -> None:
    """Send the library's log to stderr: from INFO on, or from DEBUG on when `verbose`."""
    global _command, _place
    _command, _place = command, _Place()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    # Called once a process, but tests call main() several times in one.
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    # People read this log; programs have --event-log, and JSON.
    tells = verbose or log_format == "json"
    logging.getLogger("rendezvous.events").setLevel(logging.INFO if tells else logging.WARNING)


def hush_server(level: int = logging.WARNING) -> None:
    """Keep what a server of the command's own says of each round out of the log; errors stay."""
    logging.getLogger("rendezvous.server").setLevel(level)


def complain(command: str, message: str) -> None:
    """Write the line that says why `rendezvous <command>` ends."""
    if command in _DATED and logger.handlers:
        logger.error("%s: %s", command, message)
        return
    print(f"rendezvous {command}: {message}", file=sys.stderr, flush=True)
