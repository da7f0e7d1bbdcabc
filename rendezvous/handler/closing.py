"""How a handler ends: it leaves, and closes all that it opened, in order."""

import logging
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousError
from rendezvous._base.settings import RendezvousTimeout
from rendezvous._coordination.coordinator import Coordinator
from rendezvous._node.bootstrap import Bootstrap
from rendezvous._node.membership import Membership

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = ["leave_and_close"]

_log = logging.getLogger(__name__)

# At the deadline of a shutdown: the time to stop a thread, which may still wait for a store.
_STOP_S_MIN = 0.05
# To release what expires by itself, from a store that may be gone.
_RELEASE_S = 1.0


def leave_and_close(
    membership: Membership,
    coordinator: Coordinator,
    bootstrap: Bootstrap,
    connection: "StoreConnection | None",
    *,
    hosts_store: bool,
    timeout: RendezvousTimeout,
) -> bool:
    """Returns whether the other nodes could be told; raises nothing.

    `hosts_store`: this node serves the store of the others, which keep what is in it.
    """
    told = False
    deadline = Deadline.after(timeout.close_s)
    try:
        membership.leave(failed=False, deadline=deadline)
        if not hosts_store:
            bootstrap.tidy_up(coordinator, deadline)
        # A node that left at the deadline of a join had no time for it.
        in_time = deadline.sooner(_RELEASE_S)
        coordinator.release(in_time)
        if connection is not None:
            connection.release(in_time)
        told = True
    except RendezvousError as error:
        _log.warning(
            "run %r: left, but could not tell the other nodes: %s", membership.run_id, error
        )
    finally:
        bootstrap.close()
        if connection is not None:
            connection.close()
        # Closing the connection has ended what the thread may have been waiting for. A silent store
        # may still hold it, and would tell it nothing new.
        may_wait = told and not membership.is_interrupted
        in_time = deadline.sooner(timeout.heartbeat_s if may_wait else 0.0)
        coordinator.stop(in_time.at_least(_STOP_S_MIN))
    return told
