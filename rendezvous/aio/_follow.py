"""Runs as a program outside them sees them: who came, who went and how, how many are missing.

Each run has one request at the server, which answers when something has changed; then the lists of
nodes are read. The next change is requested when the last one was taken. A restarted server does
not know all nodes at first: nodes that were known before count as present until their time to come
back is over. Knows no rule of a rendezvous. Belongs to one event loop.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import TypeAlias, TypeVar

from rendezvous._base.endpoint import is_unix, parse_endpoint
from rendezvous._base.errors import (
    StoreClosedError,
    StoreConnectionError,
    StoreTimeoutError,
    StoreUnsupportedError,
)
from rendezvous._base.security import Security, TlsFile, Token
from rendezvous.aio import _native
from rendezvous.aio._operations import Store
from rendezvous.aio._run_change import Gone, How, Member, Role, RunChange
from rendezvous.aio._tcp import TCPStore

__all__ = ["Follow", "follow"]

_Self = TypeVar("_Self", bound="Follow")
_Peer: TypeAlias = tuple[str, int, int]
_Told: TypeAlias = "tuple[str, asyncio.Task[None] | None, RunChange | Exception]"

_DEFAULT_PORT = 29400
_CONNECT_S = 60.0
_AGAIN_S = 0.5
_PAGE = 1000
_NO_RANK = 0xFFFFFFFF
_PARTICIPANTS, _WAITING, _SPARES, _LOST = range(4)
_ROLES: tuple[Role, Role, Role] = ("participant", "waiting", "spare")
_HOW: tuple[How, ...] = ("left", "lost", "failed", "gave_up")
# Beyond the keep-alives' window, for who comes back to a server that was started anew.
_BACK_S = 1.0


class _Numbers:
    """An answer of the server."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        (
            self.version, self.known, self.round, self.complete, self.closed, self.finished_round,
            self.failed, self.world_size, self.participants, self.waiting, self.spares, self.lost,
            self.min_nodes, self.max_nodes, self.window_ms,
        ) = numbers  # fmt: skip

    def missing(self) -> int:
        there = self.world_size - self.lost if self.complete else self.participants
        return max(0, self.min_nodes - there)


class _Run:
    """One run, as it was when last looked at."""

    def __init__(self, store: TCPStore, run_id: str) -> None:
        self._line = store._connections
        self._run_id = run_id
        self._ask = _native.RunOperations(store, _native.RunPart(run_id))
        self._version = _native.NOTHING_KNOWN
        self._restarts = self._line.restarts
        self._members: dict[_Peer, Member] = {}
        self._window_s = 0.0
        # Until then who is not listed may come back; 0: all is known.
        self._doubt_until_s = 0.0
        self._last: RunChange | None = None

    async def next_change(self) -> RunChange:
        """Waits for it, also while the server cannot be reached and after it was restarted."""
        while True:
            try:
                change = await self._look()
            except (StoreConnectionError, StoreTimeoutError):
                await asyncio.sleep(_AGAIN_S)
                continue
            if change is not None:
                return change

    async def _look(self) -> RunChange | None:
        now_s = asyncio.get_running_loop().time
        left_s = max(0.0, self._doubt_until_s - now_s()) if self._doubt_until_s else math.inf
        answer, gone = await self._ask.follow(self._version, left_s)
        numbers = _Numbers(answer)
        listed = await self._listed(numbers)
        if self._line.restarts != self._restarts:
            self._restarts = self._line.restarts
            self._doubt_until_s = now_s() + self._window_s + _BACK_S if self._members else 0.0
        other: How = "dismissed" if numbers.known else "lost"
        if self._doubt_until_s and now_s() >= self._doubt_until_s:
            self._doubt_until_s = 0.0
            other = "lost"
        if self._doubt_until_s and not numbers.known:
            self._version = numbers.version
            return None
        hows = {peer: _HOW[how] for peer, how in gone}
        change = await self._changed(numbers, listed, hows, other)
        # Last: who is interrupted before looks again.
        self._version = numbers.version
        self._window_s = numbers.window_ms / 1000 if numbers.known else self._window_s
        self._members = {(each.address, each.pid, each.local_id): each for each in change.members}
        is_news = self._last is None or change != self._last
        self._last = replace(change, came=(), went=())
        return change if is_news else None

    async def _listed(self, numbers: _Numbers) -> dict[_Peer, Member]:
        found: dict[_Peer, Member] = {}
        counts = (numbers.participants, numbers.waiting, numbers.spares)
        for which, count in enumerate(counts):
            if not count:
                continue
            for rank, peer in await self._pages(which):
                found[peer] = Member(*peer, _ROLES[which], None if rank == _NO_RANK else rank)
        return found

    async def _pages(self, which: int) -> list[tuple[int, _Peer]]:
        found: list[tuple[int, _Peer]] = []
        cursor = b""
        while True:
            page, cursor = await self._ask.members(which, cursor, _PAGE, math.inf)
            found += page
            if not cursor:
                return found

    async def _changed(
        self, numbers: _Numbers, listed: dict[_Peer, Member], hows: dict[_Peer, How], other: How
    ) -> RunChange:
        members = _with_names(listed, self._members)
        if self._doubt_until_s:
            for peer, member in self._members.items():
                if peer not in hows:
                    members.setdefault(peer, member)
        absent = [peer for peer in self._members if peer not in members and peer not in hows]
        how_absent = dict(hows)
        if absent:
            # They may have gone between the answer and the list.
            later, gone = await self._ask.follow(numbers.version, 0)
            how_absent |= {peer: _HOW[how] for peer, how in gone}
            now = _Numbers(later)
            if now.lost and not how_absent.keys() >= set(absent):
                for _, peer in await self._pages(_LOST):
                    how_absent.setdefault(peer, "lost")
            if now.known and now.version != numbers.version:
                # Or from a list to one that had been read: the next look, which is due, sees it.
                for peer in absent:
                    if peer not in how_absent:
                        members[peer] = self._members[peer]
        went = tuple(
            Gone(member, how_absent.get(peer, other))
            for peer, member in self._members.items()
            if peer not in members or peer in hows
        )
        came = tuple(
            member for peer, member in members.items() if peer not in self._members or peer in hows
        )
        return RunChange(
            self._run_id,
            bool(numbers.known),
            numbers.round,
            bool(numbers.complete),
            bool(numbers.closed),
            bool(numbers.failed),
            numbers.finished_round,
            numbers.world_size,
            numbers.min_nodes,
            numbers.max_nodes,
            tuple(members.values()),
            came,
            went,
            numbers.missing(),
        )


def _with_names(listed: dict[_Peer, Member], before: dict[_Peer, Member]) -> dict[_Peer, Member]:
    """The list, with known nodes in place of "rank N".

    A restarted server lists a node as "rank N" until it hears from the node itself.
    """
    by_rank = {each.rank: (peer, each) for peer, each in before.items()}
    found: dict[_Peer, Member] = {}
    for peer, member in listed.items():
        known = (
            by_rank.get(member.rank) if peer == (f"rank {member.rank}", 0, member.rank) else None
        )
        if known is None:
            found[peer] = member
        elif known[0] not in listed:
            found[known[0]] = known[1]
    return found


class Follow(AsyncIterator[RunChange]):
    """What follow() returns: enter it with `async with`, then use `async for`.

    add() and drop() may be called at any time. Only one task may go through the changes. While a
    change of a run is not taken, the run's next one is not asked for. So a slow loop sees fewer
    changes, but always the last one, and changes do not pile up.
    """

    def __init__(
        self,
        server: str | TCPStore,
        run_ids: Iterable[str],
        timeout: float,
        security: Security | None = None,
    ) -> None:
        self._server = server
        self._first = tuple(run_ids)
        self._timeout = timeout
        self._security = security
        self._store: TCPStore | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # With whose it is: a run that was dropped and added again is followed anew. None: the end.
        self._changes: asyncio.Queue[_Told | None] = asyncio.Queue(1)
        self._is_over = False

    async def __aenter__(self: _Self) -> _Self:
        if isinstance(self._server, TCPStore):
            self._store = self._server
        else:
            store = TCPStore(*parse_endpoint(self._server, _DEFAULT_PORT), math.inf, self._security)
            try:
                await store.open(self._timeout)
            except BaseException:
                await asyncio.shield(store.close())
                raise
            self._store = store
        try:
            for run_id in self._first:
                self.add(run_id)
        except BaseException:
            await asyncio.shield(self.__aexit__(None, None, None))
            raise
        return self

    def add(self, run_id: str) -> None:
        """Follow this run, too. Its first change says what is there now."""
        self._check_entered()
        assert self._store is not None
        if not isinstance(run_id, str):
            raise TypeError(
                f"follow: a run id must be a str, not {type(run_id).__name__}; pass several as "
                "follow(server, *run_ids)"
            )
        if run_id not in self._tasks:
            run = _Run(self._store, run_id)
            self._tasks[run_id] = asyncio.create_task(self._follow(run_id, run))

    def drop(self, run_id: str) -> None:
        """Stop following this run. Its request is withdrawn at once."""
        task = self._tasks.pop(run_id, None)
        if task is not None:
            task.cancel()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that are followed."""
        return tuple(self._tasks)

    async def _follow(self, run_id: str, run: _Run) -> None:
        task = asyncio.current_task()
        try:
            while True:
                await self._changes.put((run_id, task, await run.next_change()))
        except Exception as error:  # noqa: BLE001  (whoever goes through the changes raises it)
            await self._changes.put((run_id, task, error))

    async def __anext__(self) -> RunChange:
        """The next change of any run.

        Raises StoreClosedError after the end, and StoreLimitError when the server refuses to let
        this connection follow a run. That run is then followed no more.
        """
        while True:
            self._check_entered()
            told = await self._changes.get()
            if told is None:
                self._changes.put_nowait(None)
                continue
            run_id, task, change = told
            if self._tasks.get(run_id) is not task:
                continue
            if isinstance(change, Exception):
                del self._tasks[run_id]
                raise change
            return change

    def _check_entered(self) -> None:
        if self._store is None:
            raise RuntimeError(
                "enter follow() before you add or iterate runs: `async with follow(...)"
                " as changes`, then `async for change in changes`"
            )
        if self._is_over:
            raise StoreClosedError("follow: its `async with` block has ended; call follow() again")

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            if self._changes.empty():
                self._changes.put_nowait(None)  # for a task that goes through them still
            if self._store is not None and self._store is not self._server:
                await self._store.close()


def follow(
    server: str | Store,
    *run_ids: str,
    timeout: float = _CONNECT_S,
    token: Token | None = None,
    tls_cert: TlsFile | None = None,
    tls_key: TlsFile | None = None,
    tls_ca: TlsFile | None = None,
    tls_name: str | None = None,
) -> Follow:
    """Follow runs without joining them: `async with follow("node0:29400", "job-1") as changes`.

    `async for change in changes` gives a RunChange for each run as it is now, and then one for
    every change that is seen: who came, who went and how, how many nodes are missing. You may
    follow a run that nobody has joined yet. All runs share one connection. Each has one request,
    which the server answers when something changes, so thousands of idle runs cost nothing.

    If the server cannot be reached any more, it goes on trying. After a restart of the server, a
    node counts as lost only when its time to come back is over.

    server: host[:port] of a server of ours (default port 29400); or a store of
        connect("tcp://host:port") without a prefix, which stays open at the end.
    timeout: for connecting, in seconds.
    token, tls_cert, tls_key, tls_ca, tls_name: as of connect().

    Entering it raises StoreConnectionError or StoreTimeoutError when there is no server. Calling it
    raises StoreUnsupportedError for anything but such a server: etcd, files and torch's servers
    have no request that waits for a change of a run. (`rendezvous status` shows those.)
    """
    if isinstance(server, TCPStore):
        return Follow(server, run_ids, timeout)
    if isinstance(server, str) and ("://" not in server or is_unix(server)):
        security = Security(token, tls_cert, tls_key, tls_ca, tls_name)
        return Follow(server, run_ids, timeout, security)
    raise StoreUnsupportedError(
        f"follow: {server!r} is not just a server; pass its host[:port] without tcp://, or "
        'a store from rendezvous.aio.connect("tcp://host:port") without a prefix. Runs in etcd, in '
        "files and on torch's servers cannot be followed; `rendezvous status` shows them"
    )
