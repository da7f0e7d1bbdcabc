"""A complete round, as a node sees it in asyncio: its keys, its changes, the next round."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from rendezvous import _core
from rendezvous._base.api import RendezvousStoreInfo, free_port
from rendezvous._coordination.coordinator import Seat
from rendezvous._node.round_store import place_of, place_of_index, space_of, spaces_up_to
from rendezvous.aio._change import Change
from rendezvous.aio._operations import Store
from rendezvous.aio._prefix import PrefixStore

if TYPE_CHECKING:
    from rendezvous.aio._node import Node

__all__ = ["World"]

_Self = TypeVar("_Self", bound="World")
_MASTER_KEYS = (RendezvousStoreInfo.MASTER_ADDR_KEY, RendezvousStoreInfo.MASTER_PORT_KEY)


class World(AsyncIterator[Change]):
    """A complete round, as this node sees it. `async for change in world` gives its changes.

    Attributes:
        round: the number of the round, from 1.
        rank: the rank of this node, from 0.
        world_size: how many nodes take part.
        first: the address of the node with rank 0.
    """

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.round = 0
        self.rank = 0
        self.world_size = 0
        self.first = ""
        self._known = Change(True, 0, False)
        self._space = ""

    @property
    def store(self) -> Store:
        """Keys of this round only. Its nodes share them with nobody else."""
        return PrefixStore(place_of(self._node.run_id, self._space), self._node.store)

    async def master(self, timeout: float | None = None) -> RendezvousStoreInfo:
        """MASTER_ADDR and MASTER_PORT for the round's workers: rank 0's address, and a free port.

        Nothing listens on that port yet. The worker of rank 0 must do that, as it does with torch's
        init_method="env://". (The blocking handler can serve a store for workers that can only
        connect. Workers that do not need a store of torch's can use World.store.)

        timeout: in seconds, for rank 0 to say them; default: that of join().
        """
        found = await self.store.multi_get(_MASTER_KEYS, timeout)
        return RendezvousStoreInfo(found[0].decode(), int(found[1]))

    def __aiter__(self: _Self) -> _Self:
        return self

    async def __anext__(self) -> Change:
        """The next change. The loop ends when the node has left."""
        if self._node.has_left:
            raise StopAsyncIteration
        self._known = await self._node.next_change(self.round, self._known)
        return self._known

    async def rejoin(self, timeout: float | None = None) -> None:
        """Join the next round. This object is then that round: its rank, its store, and so on.

        timeout: until that round is complete, in seconds; default: that of join(). Raises the same
        errors as join().
        """
        await self._node.place(self, self.round, timeout)

    async def close_run(self, reason: str = "", *, do_not_restart: bool = False) -> None:
        """Close the run: no more nodes can join.

        reason, do_not_restart: see DynamicRendezvousHandler.set_closed.
        """
        await self._node.close_run(reason, do_not_restart)

    async def leave(self, failed: bool = False) -> None:
        """Give up this node's place. With `failed`, the others see it as a change, like a loss."""
        await self._node.leave(failed)

    def _seat(self, numbers: tuple[int, ...], first: tuple[str, int, int]) -> None:
        _, self.round, self.rank, self.world_size, _, _, changes = numbers
        self.first = first[0]
        self._known = Change(True, changes, False)
        rank_0 = _core.Node(*first)
        self._space = space_of(Seat(self.round, self.rank, self.world_size, rank_0))

    async def _publish(self) -> None:
        """Called by rank 0: publishes the round and its master, which blocking handlers wait for.

        Removes what earlier rounds have left in the store.
        """
        node = self._node
        index = PrefixStore(place_of_index(node.run_id), node.store)
        await index.set(self._space, b"")
        await self.store.multi_set(_MASTER_KEYS, [self.first, str(free_port())])
        for space in spaces_up_to(self.round - 1, await index.list_keys()):
            await PrefixStore(place_of(node.run_id, space), node.store).delete_prefix("")
            await index.delete_key(space)
