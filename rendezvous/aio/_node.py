"""A node's part in a run, for asyncio: it joins, sends heartbeats, hears of changes, leaves.

The store's server runs the rulebook: it answers a node's JOIN when the round is complete. Each node
has one connection, for its requests, its keep-alives and its store. Knows no rule.
"""

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from rendezvous import _core
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousFinishedError,
    RendezvousStateError,
    RendezvousTimeoutError,
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
)
from rendezvous._base.hosts import advertised_address, is_loopback, own_end_towards
from rendezvous._base.join_time import JoinTime
from rendezvous._base.trace import round_span
from rendezvous._coordination.exchange import told
from rendezvous._node.address import check_address
from rendezvous.aio import _native
from rendezvous.aio._change import Change
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._threads import in_thread

if TYPE_CHECKING:
    from rendezvous.aio._world import World

__all__ = ["Node"]

_PLACED, _FINISHED, _SPARE, _NO_SPARE = 0, 1, 3, 4
_PARTICIPANTS = 0
_ASKED_MAX = 64
_EXCHANGE_S = 5.0
_AGAIN_S = 0.2


class Node:
    """The node that joins, over a server that runs the rulebook."""

    def __init__(
        self,
        store: TCPStore,
        run_id: str,
        settings: _core.GroupSettings,
        facts: _core.NodeFacts,
        timeout_s: float,
    ) -> None:
        self.run_id = run_id
        self.store = store
        self.has_left = False
        self._timeout_s = timeout_s
        self._interval_s = settings.keep_alive_interval
        local_id = int.from_bytes(os.urandom(8), "little") >> 1
        self.own = _core.Node(advertised_address(store, store.host, None), os.getpid(), local_id)
        # Shorter than for silence: a node that lives connects again at once.
        grace_s = settings.keep_alive_interval * settings.keep_alive_max_attempt / 3
        self._run = _native.RunOperations(
            store, _native.RunPart(run_id, self.own, settings, grace_s, facts)
        )
        self._place: tuple[int, int, int] | None = None
        self._beats: asyncio.Task[None] | None = None
        self._may_be_listed = False

    async def place(self, world: "World", after_round: int, timeout: float | None) -> None:
        """Wait for a round after that one, and make `world` this round."""
        with round_span(self.run_id, self.own.addr) as span:
            await self._place_in(world, after_round, timeout)
            span.note(world)

    async def _place_in(self, world: "World", after_round: int, timeout: float | None) -> None:
        timeout_s = self._timeout_s if timeout is None else timeout
        time = JoinTime(Deadline.after(timeout_s), timeout_s, math.inf)
        self._may_be_listed = True
        if self._beats is None:
            self._beats = asyncio.create_task(self._beat())
        while True:
            try:
                await self._resume(after_round)
                with told(self.run_id):
                    numbers, first = await self._run.join(
                        after_round, time.deadline.left_s, time.is_spare
                    )
            except RendezvousConnectionError as error:
                if isinstance(error.__cause__, StoreKeysMissingError):  # the server says so
                    raise RendezvousTimeoutError(str(error)) from error
                time.note_outage()
                if not isinstance(error.__cause__, StoreConnectionError) or time.deadline.is_over:
                    raise
                await asyncio.sleep(_AGAIN_S)
                continue
            if numbers[0] == _PLACED:
                break
            if numbers[0] in (_SPARE, _NO_SPARE):
                time.note(is_spare=numbers[0] == _SPARE)
            if numbers[0] == _FINISHED:
                self._may_be_listed = False
                raise RendezvousFinishedError(
                    f"run {self.run_id!r}: the job finished with round {numbers[1]} while this "
                    "node waited"
                )
        self._place = (numbers[1], numbers[2], numbers[3])
        world._seat(numbers, first)
        with told(self.run_id):
            await self._meet(world, time.deadline)

    async def _meet(self, world: "World", deadline: Deadline) -> None:
        """Rank 0 says where it is. Others ask it if what the group's list says leads nowhere."""
        if world.rank == 0:
            if world.world_size > 1 and is_loopback(self.store.observed_address):
                world.first = await self._address_for_others(deadline) or world.first
            await world._publish()
        elif is_loopback(world.first) and not is_loopback(self.own.addr):
            with contextlib.suppress(StoreError):  # of a rank 0 that has left already
                world.first = (await world.master(deadline.left_s)).master_addr
            check_address(world.first, self.own.addr)

    async def _address_for_others(self, deadline: Deadline) -> str:
        """This node's, where its way to a node on another machine begins; empty: there is none.

        The server is on this machine: it sees this node as nobody else does.
        """
        nodes, _ = await self._run.members(_PARTICIPANTS, b"", _ASKED_MAX, _EXCHANGE_S)
        for _, (address, _, _) in nodes:
            if deadline.is_over:  # names may take long
                break
            if not is_loopback(address) and (own := await in_thread(_way_to(address))):
                return own
        return ""

    async def _resume(self, after_round: int) -> None:
        """Tells a restarted server which place this node has in the old round."""
        if self._place is None or self._place[0] != after_round:
            return
        with told(self.run_id):
            if not (await self._run.keep_alive(_EXCHANGE_S))[0]:
                await self._run.resume(*self._place, _EXCHANGE_S)

    async def _beat(self) -> None:
        """Sends keep-alives until the node leaves, and goes on after an outage."""
        while True:
            await asyncio.sleep(self._interval_s)
            with contextlib.suppress(StoreError, RendezvousStateError, RendezvousClosedError):
                known, _, _ = await self._run.keep_alive(self._interval_s)
                if not known and self._place is not None:
                    await self._run.resume(*self._place, self._interval_s)

    async def next_change(self, round: int, known: Change) -> Change:
        while True:
            try:
                found = Change(
                    *_flags(await self._run.subscribe(round, known.changes, known.closed, math.inf))
                )
            except StoreConnectionError:
                # Keep-alives keep the place. The next answer tells what changed meanwhile.
                await asyncio.sleep(_AGAIN_S)
                continue
            if found != known:
                return found

    async def close_run(self, reason: str, do_not_restart: bool) -> None:
        with told(self.run_id):
            await self._run.close_run(_EXCHANGE_S, reason.encode(), do_not_restart)

    async def leave(self, failed: bool) -> None:
        self.has_left = True
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.wait([self._beats])
        if self._may_be_listed:
            self._may_be_listed = False
            self._place = None
            with told(self.run_id):
                await self._run.leave(failed, _EXCHANGE_S)

    async def end(self) -> None:
        await self.store.close()


def _way_to(address: str) -> Callable[[], str]:
    return lambda: own_end_towards(address)


def _flags(numbers: tuple[int, ...]) -> tuple[bool, int, bool]:
    return bool(numbers[0]), numbers[1], bool(numbers[2])
