"""A node's part in a run, for asyncio: it joins, sends heartbeats, hears of changes, leaves.

The store's server runs the rulebook: it answers a node's JOIN when the round is complete. Each node
has one connection, for its requests, its keep-alives and its store. Knows no rule.
"""

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from rendezvous import _core
from rendezvous._base.api import RendezvousStoreInfo, free_port
from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import parse_endpoint
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
from rendezvous._base.rules import RendezvousRules
from rendezvous._base.security import Security, TlsFile, Token
from rendezvous._coordination.coordinator import Seat
from rendezvous._coordination.exchange import told
from rendezvous._node.address import check_address
from rendezvous._node.facts import make_facts
from rendezvous._node.round_store import place_of, place_of_index, space_of, spaces_up_to
from rendezvous.aio import _native
from rendezvous.aio._operations import Store
from rendezvous.aio._prefix import PrefixStore
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._threads import in_thread

__all__ = ["Change", "World", "join"]

_Self = TypeVar("_Self", bound="World")
_PLACED, _FINISHED, _SPARE, _NO_SPARE = 0, 1, 3, 4
_MASTER_KEYS = (RendezvousStoreInfo.MASTER_ADDR_KEY, RendezvousStoreInfo.MASTER_PORT_KEY)
_PARTICIPANTS = 0
_ASKED_MAX = 64
_EXCHANGE_S = 5.0
_DEFAULT_PORT = 29400
_AGAIN_S = 0.2


@dataclass(frozen=True)
class Change:
    """What has changed in the group since the round was complete.

    Attributes:
        active: whether this node still has its place in the round.
        changes: how many nodes wait for the next round, or were lost from this one.
        closed: whether the run was closed: no more nodes can join.
    """

    active: bool
    changes: int
    closed: bool


class World(AsyncIterator[Change]):
    """A complete round, as this node sees it. `async for change in world` gives its changes.

    Attributes:
        round: the number of the round, from 1.
        rank: the rank of this node, from 0.
        world_size: how many nodes take part.
        first: the address of the node with rank 0.
        store: keys of this round only. Its nodes share them with nobody else.
    """

    def __init__(self, node: "_Node") -> None:
        self._node = node
        self.round = 0
        self.rank = 0
        self.world_size = 0
        self.first = ""
        self._known = Change(True, 0, False)
        self._space = ""

    @property
    def store(self) -> Store:
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


class _Node:
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

    async def place(self, world: World, after_round: int, timeout: float | None) -> None:
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

    async def _meet(self, world: World, deadline: Deadline) -> None:
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


class _Joining:
    """What join() returns. Enter it with `async with`."""

    def __init__(  # noqa: PLR0917
        self,
        endpoint: str,
        run_id: str,
        settings: _core.GroupSettings,
        facts: _core.NodeFacts,
        timeout_s: float,
        connect_s: float,
        security: Security,
    ) -> None:
        self._place = parse_endpoint(endpoint, _DEFAULT_PORT)
        self._security = security
        self._run_id = run_id
        self._settings = settings
        self._facts = facts
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._node: _Node | None = None

    async def __aenter__(self) -> World:
        store = TCPStore(*self._place, self._timeout_s, self._security)
        try:
            with told(self._run_id):
                await store.open(self._connect_s)
            node = _Node(store, self._run_id, self._settings, self._facts, self._timeout_s)
            world = World(node)
            try:
                await node.place(world, 0, None)
            except BaseException:
                # So that the server does not list it any more, even if it was cancelled.
                with contextlib.suppress(RendezvousConnectionError, RendezvousClosedError):
                    await asyncio.shield(node.leave(failed=False))
                raise
        except BaseException:
            await asyncio.shield(store.close())
            raise
        self._node = node
        return world

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        node = self._node
        assert node is not None
        try:
            if not node.has_left:
                with contextlib.suppress(RendezvousConnectionError, RendezvousClosedError):
                    await node.leave(failed=error is not None)
        finally:
            await node.end()

    def __await__(self) -> Generator[Any, Any, World]:
        raise TypeError("use join() with `async with`, which leaves the run at the end")


def join(
    endpoint: str,
    nodes: tuple[int, int],
    run_id: str,
    *,
    timeout: float = 600.0,
    connect_timeout: float = 60.0,
    last_call: float = 30.0,
    keep_alive_interval: float = 5.0,
    keep_alive_max_attempt: int = 3,
    rules: RendezvousRules | None = None,
    token: Token | None = None,
    tls_cert: TlsFile | None = None,
    tls_key: TlsFile | None = None,
    tls_ca: TlsFile | None = None,
    tls_name: str | None = None,
) -> _Joining:
    """Join a run as one node: `async with join("node0:29400", (2, 4), "job") as world`.

    The block starts when a round that includes this node is complete. When the block ends, the node
    leaves the run; if it ends with an exception, the node leaves as failed.

    The endpoint (host[:port], default port 29400) must be a server of ours, for example `rendezvous
    serve`: it runs the rendezvous itself, and join() does not start one. For runs in etcd, in files
    and on torch's servers, use get_rendezvous_handler() in a thread.

    nodes: how many nodes a round has, at least and at most.
    timeout: until a round is complete, in seconds. A spare waits longer, to the end of the job; the
        timeout starts again when it is no longer a spare.
    connect_timeout: until the server is connected, in seconds.
    last_call: how long a round that has enough nodes waits for more, in seconds.
    keep_alive_interval, keep_alive_max_attempt: seconds between heartbeats, and after how many of
        these intervals without a heartbeat a node counts as lost.
    rules: how nodes get their places and ranks; see RendezvousRules.
    token, tls_cert, tls_key, tls_ca, tls_name: as of connect().

    Raises RendezvousTimeoutError; RendezvousConnectionError; RendezvousClosedError or one of its
    subclasses; and RendezvousStateError when the run has other settings.
    """
    if not run_id:
        raise ValueError("the run id is empty; give every node of the job the same run id")
    least, most = nodes
    rules = rules or RendezvousRules()
    settings = rules.group_settings(
        least, most, last_call, keep_alive_interval, keep_alive_max_attempt
    )
    security = Security(token, tls_cert, tls_key, tls_ca, tls_name)
    facts = make_facts(rules)
    return _Joining(endpoint, run_id, settings, facts, timeout, connect_timeout, security)
