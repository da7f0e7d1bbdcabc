"""Events of a node as lines of JSON in a file, of which several nodes may share one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger

if TYPE_CHECKING:
    from pathlib import Path

    from rendezvous._base.events import Event

__all__ = ["EventLog"]


class EventLog:
    """Appends. Raises CommandError if the file cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._has_failed = False
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _exit.CommandError(f"cannot write --event-log: {error}", _exit.USAGE) from error

    def write(self, event: Event) -> None:
        """One line, whole. That it cannot be written is told once."""
        try:
            os.write(self._fd, f"{event.as_json()}\n".encode())
        except OSError as error:
            if not self._has_failed:
                logger.warning("--event-log is not complete: %s", error)
            self._has_failed = True
