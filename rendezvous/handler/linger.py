"""Lingering: a process that serves a store ends only after the other nodes have left."""

import logging
from collections.abc import Callable

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousConnectionError
from rendezvous.handler import DynamicRendezvousHandler

__all__ = ["LINGER_S", "linger"]

_log = logging.getLogger(__name__)

LINGER_S = 300.0  # unless `linger_timeout` says otherwise
_LOG_S = 10.0
# How soon a store that is gone is noticed. Also how long nothing is logged: the nodes of a job end
# at nearly the same time.
_SLICE_S = 1.0


def linger(
    handler: DynamicRendezvousHandler,
    what: str,
    timeout_s: float,
    wait_until_alone: Callable[[float], bool],
) -> None:
    """Wait until no other node takes part, or the time is over.

    Args:
        what: the thing that is served, for the log: "the store hosted here".
        wait_until_alone: the handler's method, called as its caller must.
    """
    deadline, next_log = Deadline.after(timeout_s), Deadline.after(_SLICE_S)
    while True:
        left_s = deadline.left_s
        try:
            if wait_until_alone(min(_SLICE_S, left_s)):
                return
        except RendezvousConnectionError as error:
            # The store's host stays until the others have left: then we need not either.
            _log.info("the run's store is gone, so this node does not wait for others")
            _log.debug("%s", error)
            return
        if left_s <= _SLICE_S:
            _log.warning(
                "%s ends before other nodes are done: linger_timeout (%g s) is over",
                what,
                timeout_s,
            )
            return
        if next_log.is_over:
            _log.info("%s: waiting", _users_text(handler.other_nodes, what))
            next_log = Deadline.after(_LOG_S)


def _users_text(count: int, what: str) -> str:
    if count == 0:
        return f"nodes that waited for a place still use {what}"
    return f"{count} other {'node still uses' if count == 1 else 'nodes still use'} {what}"
