"""Starts threads; where the system has no room for another one, that is an error of ours.

Python says it with a plain RuntimeError, which no caller can tell from a mistake.
"""

from __future__ import annotations

import threading

from rendezvous._base.errors import StoreConnectionError

__all__ = ["start_thread"]


def start_thread(thread: threading.Thread) -> None:
    """Start it. Raises StoreConnectionError when the system refuses."""
    try:
        thread.start()
    except RuntimeError as error:
        if thread.ident is not None:
            raise  # it was started before: a mistake of the caller
        raise StoreConnectionError(
            f"cannot start the thread {thread.name!r}: {error}; raise the limit of processes and "
            "threads (ulimit -u, or the pids limit of the container)"
        ) from error
