"""The address of rank 0 of a round: one for all nodes, found by rank 0.

In this order: the address that the user gives; rank 0's address as the store's server sees it,
unless that is loopback; if other nodes are on other machines, the address by which they reached
this machine; else the endpoint's host. Determined again for each round: the store may have moved.
Runs on the caller's thread.
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
    """The addresses that one node gives to the others.

    Args:
        store: whose server sees this node.
        endpoint_host: as the user typed it; None: there is none.
        local_addr: this node's address, if the user gives it.
        is_over_etcd: no node serves the store.

    Raises ValueError if no address is known by which others reach this node.
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
        """This node's address, as lists of nodes show it."""
        if self._fixed:
            return self._fixed
        return advertised_address(self._store, self._endpoint_host, self.local_addr)

    def of_rank_0(self, coordinator: Coordinator, world_size: int, deadline: Deadline) -> str:
        """The address of this node, which has rank 0, for all nodes of a round of this size.

        Raises RendezvousError if the other nodes cannot be found out.
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
            "this node has rank 0, but its address %s means a different machine on each machine, "
            "so nodes on other machines cannot reach it; set another local_addr (--local-addr), "
            "or none: "
            "then the address is %s",
            address,
            reached,
        )
        return address


def check_address(address: str, node_addr: str) -> None:
    """Warn of what rank 0 told the node of that address, if it leads this node to itself alone."""
    if is_loopback(address) and not is_loopback(node_addr):
        _log.warning(
            "rank 0 published the address %s, but on this node (%s) that address means this "
            "machine; start rank 0's node with another local_addr (--local-addr)",
            address,
            node_addr,
        )
