"""Runs that somebody follows who is in none: who came, who went and how, how many are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from support.aio import LOOPS, in_flight, others, run_on, turns
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import (
    Server,
)
from rendezvous.aio import Follow, RunChange, World, follow, join

KEEP_ALIVE = {"keep_alive_interval": 0.2, "keep_alive_max_attempt": 10}


def joined(port: int, nodes: tuple[int, int] = (2, 2), run_id: str = "job", **options: Any) -> Any:
    options = {"timeout": 60, "last_call": 0.05, **options}
    return join(f"127.0.0.1:{port}", nodes, run_id, **options)


async def until(changes: Follow, seen: Callable[[RunChange], bool]) -> RunChange:
    """The first change that is like that. All that came and went until then has been checked."""
    while True:
        change = await anext(changes)
        assert set(change.came) <= set(change.members)
        if seen(change):
            return change


class Node:
    """One that joins, and stays until it is told to end."""

    def __init__(self, port: int, **options: Any) -> None:
        self.world: World | None = None
        self._end = asyncio.Event()
        self._fails = False
        self._task = asyncio.create_task(self._run(joined(port, **options)))

    async def _run(self, joining: Any) -> None:
        async with joining as self.world:
            await self._end.wait()
            if self._fails:
                raise ZeroDivisionError

    async def end(self, fails: bool = False) -> None:
        self._fails = fails
        self._end.set()
        if self.world is None:
            self._task.cancel()
        with suppress(ZeroDivisionError, asyncio.CancelledError):
            await self._task


@pytest.mark.parametrize("loop", LOOPS)
def test_who_comes_and_who_goes_is_told(server: Server, loop: str) -> None:
    """From before the first node on, to after the last."""

    async def main() -> None:
        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            nobody = await anext(changes)
            assert (nobody.known, nobody.members, nobody.missing) == (False, (), 0)
            a = Node(server.port)
            first = await anext(changes)
            (member,) = first.came
            assert (first.known, first.complete, first.missing) == (True, False, 1)
            assert (member.role, member.rank, first.min_nodes) == ("participant", None, 2)
            b = Node(server.port)
            complete = await until(changes, lambda change: change.complete)
            assert (complete.world_size, complete.missing) == (2, 0)
            assert sorted(each.rank for each in complete.members if each.rank is not None) == [0, 1]
            await a.end()
            await b.end(fails=True)
            went: dict[int, str] = {}
            while len(went) < 2:
                change = await anext(changes)
                went |= {each.member.local_id: each.how for each in change.went}
            assert went.pop(member.local_id) == "left"
            assert list(went.values()) == ["failed"]
        assert others() == set()

    run_on(loop, main())


def test_a_node_that_is_cut_off_is_lost(server: Server) -> None:
    """When the time has passed in which it could come back."""

    async def main(proxy: FaultProxy) -> None:
        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            await anext(changes)
            nodes = [Node(server.port, **KEEP_ALIVE), Node(proxy.port, **KEEP_ALIVE)]
            await until(changes, lambda change: change.complete)
            proxy.refuse()
            change = await until(changes, lambda change: bool(change.went))
            assert [each.how for each in change.went] == ["lost"]
            assert (change.missing, len(change.members)) == (1, 1)
            for node in nodes:
                node._task.cancel()
            await asyncio.gather(*(node._task for node in nodes), return_exceptions=True)

    with FaultProxy(server.port) as proxy:
        asyncio.run(main(proxy))


def test_who_waits_when_a_run_is_closed_is_dismissed(server: Server) -> None:
    """And the run is known to be closed."""

    async def main() -> None:
        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            await anext(changes)
            async with joined(server.port, (1, 1)) as world:
                late = Node(server.port, nodes=(1, 1))
                await until(changes, lambda change: len(change.members) == 2)
                await world.close_run()
                change = await until(changes, lambda change: change.closed)
                assert [each.how for each in change.went] == ["dismissed"]
                with suppress(rendezvous.RendezvousClosedError):
                    await late._task

    asyncio.run(main())


def test_how_a_node_went_is_told_even_if_it_went_while_others_were_listed(server: Server) -> None:
    """Between the server's answer and the list that is asked for then."""

    async def main() -> None:
        nodes: list[Node] = []
        operations = rendezvous.aio._native.RunOperations
        list_members = operations.members

        async def late(self: Any, *args: Any) -> Any:
            for node in nodes:
                nodes.clear()
                await node.end(fails=True)
            return await list_members(self, *args)

        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            await anext(changes)
            first = Node(server.port, nodes=(1, 1))
            await until(changes, lambda change: change.complete)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(operations, "members", late)
                nodes.append(first)
                spare = Node(server.port, nodes=(1, 1))
                change = await until(changes, lambda change: bool(change.went))
                assert [each.how for each in change.went] == ["failed"]
            await spare.end()

    asyncio.run(main())


def test_two_hundred_runs_are_followed_over_one_connection(server: Server) -> None:
    """Each has one request at the server, which is answered when something changes; no other."""

    async def main(proxy: FaultProxy) -> None:
        asked = 0
        runs = [f"job-{i}" for i in range(200)]
        ask = rendezvous.aio._native.RunOperations.follow

        def counting(self: Any, *args: Any) -> Any:
            nonlocal asked
            asked += 1
            return ask(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rendezvous.aio._native.RunOperations, "follow", counting)
            async with AsyncExitStack() as stack:
                store = await stack.enter_async_context(
                    rendezvous.aio.connect(f"tcp://127.0.0.1:{proxy.port}", 60)
                )
                assert isinstance(store, rendezvous.aio.TCPStore)
                changes = await stack.enter_async_context(follow(store, *runs))
                assert {(await anext(changes)).run_id for _ in runs} == set(runs)
                while in_flight(store) < len(runs):
                    await turns(1)
                assert asked == 2 * len(runs)
                waiting = asyncio.create_task(anext(changes))
                await asyncio.sleep(0.5)  # in which nothing is to happen
                assert asked == 2 * len(runs)
                async with joined(server.port, (1, 1), "job-117"):
                    change = await waiting
                    assert (change.run_id, len(change.came)) == ("job-117", 1)
                    assert asked <= 2 * len(runs) + 3
            assert proxy.connections == 1
        assert others() == set()

    with FaultProxy(server.port) as proxy:
        asyncio.run(main(proxy))


def test_a_slow_loop_sees_what_is_last(server: Server) -> None:
    """Who has come and gone while it was busy is not told; nothing is kept for it."""

    async def busy() -> None:
        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            await anext(changes)
            for _ in range(20):
                async with joined(server.port, (1, 1)):
                    pass
            async with joined(server.port, (1, 1)) as world:
                # One was seen before the loop was busy, at most.
                seen = [await until(changes, lambda change: change.complete)]
                while seen[-1].round != world.round:
                    seen.append(await anext(changes))
                assert len(seen) <= 3
                assert len(seen[-1].members) == 1

    asyncio.run(busy())


def test_a_network_that_breaks_loses_nobody(server: Server) -> None:
    """What changed meanwhile is told."""

    async def main(proxy: FaultProxy) -> None:
        async with follow(f"127.0.0.1:{proxy.port}", "job") as changes:
            await anext(changes)
            a = Node(server.port, nodes=(2, 3))
            await until(changes, lambda change: len(change.members) == 1)
            for i in range(20):
                proxy.cut(reset=i % 2 == 1)
                await asyncio.sleep(0.01)
            b = Node(server.port, nodes=(2, 3))
            change = await anext(changes)
            assert (len(change.came), change.went) == (1, ())
            await a.end()
            await b.end()

    with FaultProxy(server.port) as proxy:
        asyncio.run(main(proxy))


def test_a_server_that_starts_anew_loses_nobody_who_comes_back(proxy: FaultProxy) -> None:
    """They keep their ranks. Who does not come back in time is lost, and not before."""

    async def main(second: Server) -> None:
        loop = asyncio.get_running_loop()
        async with follow(f"127.0.0.1:{proxy.port}", "job") as changes:
            await anext(changes)
            nodes = [Node(proxy.port, nodes=(3, 3), **KEEP_ALIVE) for _ in range(3)]
            before = await until(changes, lambda change: change.complete)
            ranks = {each.local_id: each.rank for each in before.members}
            while any(node.world is None for node in nodes):
                await turns(1)
            gone = nodes.pop()
            assert gone.world is not None
            gone.world._node._beats.cancel()  # type: ignore[union-attr]
            await gone.world._node.store.close()
            began = loop.time()
            proxy.target_port = second.port
            proxy.cut()
            change = await anext(changes)
            while not change.went:  # none but that the server knows of the loss
                assert (len(change.members), change.came, change.known) == (3, (), True)
                change = await anext(changes)
            assert [each.how for each in change.went] == ["lost"]
            assert {each.local_id: each.rank for each in change.members} == {
                world._node.own.local_id: world.rank
                for world in (node.world for node in nodes)
                if world is not None
            }
            assert change.came == ()
            assert loop.time() - began >= 2.0  # the nodes' time to come back
            assert {each.local_id for each in change.members} < ranks.keys()
            for node in nodes:
                await node.end()
            gone._task.cancel()
            await asyncio.gather(gone._task, return_exceptions=True)

    with Server() as second:
        asyncio.run(main(second))


def test_runs_are_added_and_dropped(server: Server) -> None:
    """A run that is dropped is told no more, and its request is withdrawn."""

    async def main() -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{server.port}", 60) as store:
            assert isinstance(store, rendezvous.aio.TCPStore)
            async with follow(store) as changes:
                assert not changes.run_ids
                for run_id in ("a", "b", "a"):
                    changes.add(run_id)
                assert {(await anext(changes)).run_id for _ in range(2)} == {"a", "b"}
                changes.drop("a")
                changes.drop("never")
                assert changes.run_ids == ("b",)
                async with joined(server.port, (1, 1), "a"), joined(server.port, (1, 1), "b"):
                    assert (await anext(changes)).run_id == "b"
                while in_flight(store) > 1:
                    await turns(1)
            assert in_flight(store) == 0
            await store.ping()  # it is left open
        assert others() == set()

    asyncio.run(main())


def test_who_moves_from_list_to_list_while_they_are_read_is_not_gone(server: Server) -> None:
    """Those who wait may take part by the time that those who wait are asked for."""

    async def main() -> None:
        operations = rendezvous.aio._native.RunOperations
        list_members = operations.members
        moving: list[Node] = []

        async def late(self: Any, which: int, *args: Any) -> Any:
            while which == 1 and moving:  # those who wait
                world = moving.pop().world
                assert world is not None
                await world.rejoin()
            return await list_members(self, which, *args)

        async with follow(f"127.0.0.1:{server.port}", "job") as changes:
            await anext(changes)
            nodes = [Node(server.port, nodes=(1, 3))]
            await until(changes, lambda change: change.complete)
            nodes.append(Node(server.port, nodes=(1, 3)))
            await until(changes, lambda change: len(change.members) == 2)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(operations, "members", late)
                moving.append(nodes[0])
                nodes.append(Node(server.port, nodes=(1, 3)))
                change = await anext(changes)
                while change.world_size != 3:
                    assert change.went == ()
                    change = await anext(changes)
                assert (change.went, len(change.members)) == ((), 3)
            for node in nodes:
                await node.end()

    asyncio.run(main())


def test_a_run_that_is_dropped_and_added_again_is_followed_anew(server: Server) -> None:
    """What was about to be told of it before is not."""

    async def main() -> None:
        async with follow(f"127.0.0.1:{server.port}", "job", "other") as changes:
            assert {(await anext(changes)).run_id for _ in range(2)} == {"job", "other"}
            async with joined(server.port, (1, 1)):
                while changes._changes.empty():
                    await turns(1)
                changes.drop("job")
                changes.add("job")
                change = await anext(changes)
                assert len(change.came) == len(change.members) == 1

    asyncio.run(main())
