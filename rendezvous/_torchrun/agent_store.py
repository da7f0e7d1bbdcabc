"""The store of one round as torchrun's agent uses it: it does not wait for lost nodes.

Agents tell each other their number of workers through it before these start (torch's
SimpleElasticAgent._assign_worker_ranks). A node that is lost between the round and that would hold
all others for the store's timeout, and then end them, whatever --max-restarts says. Here they go
on with an assumption about the lost node, which no worker lives long enough to find out: the change
of membership has the agents meet again at once. Imports torch, as its base does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreKeysMissingError, StoreTimeoutError
from rendezvous._stores.store import Store
from rendezvous.torch import TorchStore

__all__ = ["AgentStore"]

_Answer = TypeVar("_Answer")

_ROLE_PREFIX = "torchelastic/role_info/"
_RANKS_PREFIX = "torchelastic/assigned_ranks/"
# How long to wait for the others before looking whether they are still there; with very many, who
# all ask anew then, longer.
_SLICE_S = 0.5
_NODES_A_SECOND = 500


class AgentStore(TorchStore):
    """A view of a round's store for the agent of the node with `rank` among `world_size`.

    `is_broken`: whether the round has lost somebody; costs nothing.
    """

    def __init__(
        self, store: Store, rank: int, world_size: int, is_broken: Callable[[], bool]
    ) -> None:
        super().__init__(store)
        self._rank = rank
        self._world_size = world_size
        self._is_broken = is_broken
        self._own_role: dict[str, object] = {}

    def set(self, key: str, value: str | bytes) -> None:
        if key == f"{_ROLE_PREFIX}{self._rank}":
            self._own_role = json.loads(value)
        super().set(key, value)

    def get(self, key: str) -> bytes:
        if key != f"{_RANKS_PREFIX}{self._rank}":
            return super().get(key)
        return self._unless_broken(
            lambda timeout_s: self.store.get(key, timeout_s), self._assumed_ranks
        )

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        if not all(key.startswith(_ROLE_PREFIX) for key in keys):
            return super().multi_get(keys)
        return self._unless_broken(
            lambda timeout_s: self.store.multi_get(keys, timeout_s),
            lambda: [self._role_or_assumed(key) for key in keys],
        )

    def _unless_broken(
        self, ask: Callable[[float], _Answer], assume: Callable[[], _Answer]
    ) -> _Answer:
        """What the store says, or an assumption, if the round breaks first."""
        deadline = Deadline.after(self.timeout.total_seconds())
        slice_s = max(_SLICE_S, self._world_size / _NODES_A_SECOND)
        with self.translated():
            while True:
                left_s = deadline.left_s
                try:
                    return ask(min(slice_s, left_s))
                except StoreTimeoutError as error:
                    is_missing = isinstance(error, StoreKeysMissingError)
                    if is_missing and self._own_role and self._is_broken():
                        return assume()
                    if left_s <= slice_s:
                        raise

    def _role_or_assumed(self, key: str) -> bytes:
        found = self.store.try_get(key)
        if found is not None:
            return found
        rank = int(key.removeprefix(_ROLE_PREFIX))
        return json.dumps({**self._own_role, "rank": rank}).encode()

    def _assumed_ranks(self) -> bytes:
        """As if all nodes had as many workers as this one, in one role."""
        workers = int(str(self._own_role["local_world_size"]))
        base, total = self._rank * workers, self._world_size * workers
        return json.dumps([base, total, base, total]).encode()
