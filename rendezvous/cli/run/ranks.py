"""The ranks of processes, where the nodes of a round run several each, maybe of different number.

Each node says how many it runs; rank 0 adds them up and says to each where its ranks begin: three
requests a node, whatever the number of nodes. Knows of a round only its store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousTimeoutError, StoreError, StoreKeysMissingError
from rendezvous._base.patience import Backoff
from rendezvous._stores.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from rendezvous._base.api import RendezvousInfo

__all__ = ["Ranks", "agree_on_ranks"]

# How long to wait for others before looking whether they are still there.
_SLICE_S = 0.5
_NODES_A_SECOND = 500
# Keys of the round's store. A node that is no `exec` and takes part may say the first, too.
_COUNT, _PLACE = "exec/processes/{}", "exec/place/{}"


@dataclass(frozen=True)
class Ranks:
    """Where the processes of this node are among those of all.

    Attributes:
        first, count: the ranks of this node's processes begin with, and are so many.
        total: how many processes all nodes have.
        port: a port of rank 0's machine, for programs that serve there themselves; 0: none.
    """

    first: int
    count: int
    total: int
    port: int

    @property
    def all(self) -> range:
        """Of this node."""
        return range(self.first, self.first + self.count)


def agree_on_ranks(
    info: RendezvousInfo,
    count: int,
    port: int,
    is_broken: Callable[[], bool],
    timeout_s: float,
) -> Ranks | None:
    """The ranks of this node's `count` processes; None if the round broke meanwhile.

    Args:
        port: what rank 0 says to all; of other nodes it does not matter.
        is_broken: whether a new round is needed.

    Raises RendezvousTimeoutError, which says whose number is missing.
    """
    if not isinstance(info.store, Store):  # a plug-in's, of which nobody knows what it can
        return Ranks(info.rank * count, count, info.world_size * count, 0)
    deadline = Deadline.after(timeout_s)
    backoff = Backoff(0.02, 1.0)
    while True:
        slice_s = max(_SLICE_S, info.world_size / _NODES_A_SECOND)
        slice_s = max(0.01, deadline.sooner(slice_s).left_s)
        try:
            return _agree(info, count, port, slice_s)
        except StoreError as error:
            # The end of a slice, or a store that is away for a while.
            failure = error
        if is_broken():
            return None
        if deadline.is_over:
            raise _timeout(info, failure) from failure
        if not isinstance(failure, StoreKeysMissingError):
            backoff.sleep(deadline)


def _agree(info: RendezvousInfo, count: int, port: int, slice_s: float) -> Ranks:
    store = info.store
    store.set(_COUNT.format(info.rank), str(count))
    if info.rank == 0:
        keys = [_COUNT.format(rank) for rank in range(info.world_size)]
        counts = [int(each) for each in store.multi_get(keys, slice_s)]
        total, first, places = sum(counts), 0, []
        for each in counts:
            places.append(f"{first} {total} {port}")
            first += each
        store.multi_set([_PLACE.format(rank) for rank in range(info.world_size)], places)
    [place] = store.multi_get([_PLACE.format(info.rank)], slice_s)
    first, total, said_port = map(int, place.split())
    return Ranks(first, count, total, said_port)


def _timeout(info: RendezvousInfo, failure: StoreError) -> RendezvousTimeoutError:
    what = "rank 0 has not said which ranks this node's processes have"
    if info.rank == 0 and isinstance(failure, StoreKeysMissingError):
        numbers = ", ".join(key.rpartition("/")[2] for key in failure.keys[:16])
        what = f"the nodes with rank {numbers} have not said how many processes they run"
    return RendezvousTimeoutError(
        f"round {info.round} is complete, but {what} before the join timeout ({failure}). Only "
        f"nodes that run `rendezvous exec` of this version say it"
    )
