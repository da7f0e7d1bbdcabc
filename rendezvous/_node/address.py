"""Where rank 0 of a round is reached: one address, the same for all nodes, which rank 0 finds.

In this order: what the user said; as whom the store's server sees rank 0, unless that is loopback;
if other nodes are not on this machine, under which address they have reached it; else the name that
the endpoint has. Asked anew for each round: the store may have moved. Runs on the caller's thread.
"""

import logging

from rendezvous._base.deadline import Deadline
from rendezvous._base.hosts import (
    address_over_etcd,
    advertised_address,
    is_loopback,
    observed_address,
)
from rendezvous._coordination.coordinator import Coordinator

__all__ = ["Addresses", "check_address"]

_log = logging.getLogger(__name__)


class Addresses:
    """Which addresses one node tells the others.

    Args:
        store: whose server sees this node.
        endpoint_host: as the user typed it; None: there is none.
        local_addr: what the user says that this node's address is.
        is_over_etcd: no node serves the store.

    Raises ValueError where no address is known that others reach.
    """

    def __init__(
        self,
        store: object,
        endpoint_host: str | None,
        local_addr: str | None,
        is_over_etcd: bool = False,
    ) -> None:
        self._store = store
        self._endpoint_host = endpoint_host
        self.local_addr = local_addr
        self._fixed = address_over_etcd(store, local_addr) if is_over_etcd else ""

    def of_node(self) -> str:
        """This node's, as lists of nodes show it."""
        if self._fixed:
            return self._fixed
        return advertised_address(self._store, self._endpoint_host, self.local_addr)

    def of_rank_0(self, coordinator: Coordinator, world_size: int, deadline: Deadline) -> str:
        """This node's, which has rank 0, for all nodes of a round of this size.

        Raises RendezvousError when the others could not be asked for.
        """
        address = self.of_node()
        seen = self.local_addr or observed_address(self._store) or address
        if world_size == 1 or not is_loopback(seen):
            return address
        reached = coordinator.reached_at(deadline)
        if not reached:
            return address
        if not self.local_addr:
            return reached
        _log.warning(
            "this node has rank 0, and its address %s leads each machine to itself, so nodes on "
            "other machines cannot reach rank 0; set another local_addr (--local-addr), or none: "
            "then the address is %s",
            address,
            reached,
        )
        return address


def check_address(address: str, node_addr: str) -> None:
    """Warn of what rank 0 told the node of that address, if it leads this node to itself alone."""
    if is_loopback(address) and not is_loopback(node_addr):
        _log.warning(
            "rank 0 gave the address %s, but on this node (%s) that address leads to this "
            "machine itself; start rank 0's node with another local_addr (--local-addr)",
            address,
            node_addr,
        )
