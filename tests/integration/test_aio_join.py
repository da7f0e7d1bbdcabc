"""asyncio's join: rounds, ranks, changes of membership, and what is told to the others."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

import pytest
from support.aio import LOOPS, others, run_on
from support.background import Background
from support.process import SERVER, PythonProcess
from support.proxy import FaultProxy

from rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousTimeoutError,
    Server,
    StoreConnectionError,
    get_rendezvous_handler,
)
from rendezvous.aio import World, follow, join

LAST_CALL_S = 0.05


def joined(
    port: int, nodes: tuple[int, int] = (2, 2), **options: Any
) -> AbstractAsyncContextManager[World]:
    options = {"timeout": 60, "last_call": LAST_CALL_S, **options}
    return join(f"127.0.0.1:{port}", nodes, "job", **options)


@pytest.mark.parametrize("loop", LOOPS)
def test_all_have_a_rank_and_share_a_store(server: Server, loop: str) -> None:
    """Each its own; the keys of the round are theirs."""

    async def node() -> tuple[int, int, bytes]:
        async with joined(server.port, (100, 100)) as world:
            if world.rank == 0:
                await world.store.set("k", "of rank 0")
            value = await world.store.get("k")
            # Nobody leaves before all have read it.
            await world.store.barrier("end", world.world_size)
            return world.rank, world.world_size, value

    async def main() -> None:
        found = await asyncio.gather(*(node() for _ in range(100)))
        assert sorted(found) == [(rank, 100, b"of rank 0") for rank in range(100)]
        assert others() == set()

    run_on(loop, main())


def test_it_meets_blocking_handlers(server: Server) -> None:
    """They are nodes of the same run."""

    def blocking() -> tuple[int, int]:
        parameters = RendezvousParameters(
            "c10d", f"127.0.0.1:{server.port}", "job", 2, 2, is_host=False, join_timeout=60
        )
        handler = get_rendezvous_handler(parameters)
        info = handler.next_rendezvous()
        handler.shutdown()
        return info.rank, info.world_size

    async def main(other: Background[tuple[int, int]]) -> None:
        async with joined(server.port, last_call=30.0) as world:
            rank, size = await asyncio.to_thread(other.result)
            assert {rank, world.rank} == {0, 1}
            assert size == world.world_size == 2
            assert (await world.master()).master_addr == "127.0.0.1"

    asyncio.run(main(Background(blocking)))


def elsewhere(server: Server, address: str) -> tuple[RendezvousInfo, Any]:
    """A blocking handler on another machine, as far as the others can see; in its round."""
    parameters = RendezvousParameters(
        "c10d",
        f"127.0.0.1:{server.port}",
        "job",
        2,
        2,
        local_addr=address,
        is_host=False,
        join_timeout=60,
    )
    handler = get_rendezvous_handler(parameters)
    return handler.next_rendezvous(), handler


def test_rank_0_beside_the_server_tells_others_an_address_that_they_reach(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the server it is loopback, by which each machine reaches itself."""
    monkeypatch.setattr(
        "rendezvous.aio._node.own_end_towards",
        lambda host: {"198.51.100.7": "192.0.2.1"}.get(host, ""),
    )

    async def main(other: Background[tuple[RendezvousInfo, Any]]) -> None:
        async with joined(server.port, last_call=30.0) as world:
            info, handler = await asyncio.to_thread(other.result)
            assert (world.rank, info.rank) == (0, 1)
            assert world.first == "192.0.2.1"
            assert info.bootstrap_store_info.master_addr == "192.0.2.1"
            await asyncio.to_thread(handler.shutdown)

    asyncio.run(main(Background(elsewhere, server, "198.51.100.7")))


def test_an_address_that_leads_a_node_to_itself_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a blocking handler: rank 0 says loopback, and this node is on another machine."""
    monkeypatch.setattr("rendezvous.aio._node.advertised_address", lambda *_: "198.51.100.7")

    async def main(other: Background[tuple[RendezvousInfo, Any]]) -> None:
        async with joined(server.port, last_call=30.0) as world:
            info, handler = await asyncio.to_thread(other.result)
            assert (world.rank, info.rank) == (1, 0)
            assert world.first == info.bootstrap_store_info.master_addr == "127.0.0.1"
            await asyncio.to_thread(handler.shutdown)

    with caplog.at_level("WARNING", "rendezvous"):
        asyncio.run(main(Background(elsewhere, server, "127.0.0.1")))
    assert "rank 0 published the address 127.0.0.1, but on this node (198.51.100.7)" in caplog.text


def test_changes_are_told_and_a_new_round_is_joined(server: Server) -> None:
    """A third node waits: both see it, and join the next round with it."""

    async def first_two(third: asyncio.Event) -> int:
        async with joined(server.port, (2, 3)) as world:
            third.set()
            async for change in world:
                assert change.changes >= 1
                break
            await world.rejoin()
            await world.store.barrier("end", world.world_size)
            return world.world_size

    async def last_one(third: asyncio.Event) -> int:
        await third.wait()
        async with joined(server.port, (2, 3)) as world:
            await world.store.barrier("end", world.world_size)
            return world.world_size

    async def main() -> None:
        third = asyncio.Event()
        sizes = await asyncio.gather(first_two(third), first_two(third), last_one(third))
        assert list(sizes) == [3, 3, 3]
        assert others() == set()

    asyncio.run(main())


def test_a_node_that_fails_is_lost_for_the_others(server: Server) -> None:
    """Its exception ends its part as failed, which counts as a change."""

    async def failing() -> None:
        async with joined(server.port):
            raise ZeroDivisionError

    async def main() -> None:
        task = asyncio.create_task(failing())
        async with joined(server.port) as world:
            change = await anext(world)
            assert (change.active, change.changes) == (True, 1)
        with pytest.raises(ZeroDivisionError):
            await task
        assert others() == set()

    asyncio.run(main())


def test_who_waits_in_vain_is_told_and_forgotten(server: Server) -> None:
    """At its timeout, or cancelled; a pair finds only each other then."""

    async def main() -> None:
        with pytest.raises(RendezvousTimeoutError):
            async with joined(server.port, timeout=0.1):
                pass
        task = asyncio.create_task(joined(server.port).__aenter__())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def node() -> int:
            async with joined(server.port) as world:
                return world.world_size

        assert list(await asyncio.gather(node(), node())) == [2, 2]
        assert others() == set()

    asyncio.run(main())


def test_a_spare_outlives_its_timeout_and_takes_the_place_of_who_fails(server: Server) -> None:
    """Its time is over while it is a spare; it waits on, and has a place in the next round."""

    async def main() -> None:
        spares = 8  # of the numbers of a status

        async def spare() -> tuple[int, int]:
            async with joined(server.port, timeout=2) as world:
                return world.round, world.world_size

        async def failing(end: asyncio.Event) -> None:
            async with joined(server.port):
                await end.wait()
                raise ZeroDivisionError

        end = asyncio.Event()
        broken = asyncio.create_task(failing(end))
        async with joined(server.port) as world:
            waiting = asyncio.create_task(spare())
            while (await world._node._run.status(60))[0][spares] == 0:
                await asyncio.sleep(0.01)
            await asyncio.sleep(2)  # its time; what it must not end at
            assert not waiting.done()
            end.set()
            await world.rejoin()
            assert await waiting == (2, 2)
        with pytest.raises(ZeroDivisionError):
            await broken
        assert others() == set()

    asyncio.run(main())


def test_a_closed_run_takes_nobody(server: Server) -> None:
    """Who is in it is told."""

    async def main() -> None:
        async with joined(server.port, (1, 1)) as world:
            await world.close_run()
            change = await anext(world)
            assert change.closed
            with pytest.raises(RendezvousClosedError):
                async with joined(server.port, (1, 1)):
                    pass

    asyncio.run(main())


def test_a_place_outlives_its_connection(server: Server) -> None:
    """The network breaks; the place is taken again, and the others see nobody go."""

    async def main(proxy: FaultProxy) -> None:
        broken = asyncio.Event()
        seen: list[World] = []

        async def behind_the_proxy() -> None:
            async with joined(proxy.port, keep_alive_interval=0.2, keep_alive_max_attempt=50) as it:
                seen.append(it)
                await broken.wait()
                await it.store.check(["k"])  # a read, which is repeated
                await it.store.set("k", "v")

        task = asyncio.create_task(behind_the_proxy())
        async with joined(server.port, keep_alive_interval=0.2, keep_alive_max_attempt=50) as world:
            while not seen:
                await asyncio.sleep(0.01)
            proxy.cut()
            broken.set()
            assert await world.store.get("k", 60) == b"v"
            await task

    with FaultProxy(server.port) as proxy:
        asyncio.run(main(proxy))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_place_outlives_its_server(free_port: int, loop: str) -> None:
    """It is killed, and another one started there: all have the ranks that they had."""

    async def main() -> None:
        options = {"keep_alive_interval": 0.2, "keep_alive_max_attempt": 100}
        with PythonProcess(SERVER, "127.0.0.1", str(free_port)) as first:
            assert first.line() == str(free_port)
            async with AsyncExitStack() as stack:
                worlds = await asyncio.gather(
                    *(
                        stack.enter_async_context(joined(free_port, (3, 3), **options))
                        for _ in range(3)
                    )
                )
                first.kill()
                with PythonProcess(SERVER, "127.0.0.1", str(free_port)) as second:
                    assert second.line() == str(free_port)
                    async with follow(f"127.0.0.1:{free_port}", "job") as changes:
                        async for run in changes:
                            ranks = {each.local_id: each.rank for each in run.members}
                            if ranks == {each._node.own.local_id: each.rank for each in worlds}:
                                break
                    assert (run.round, run.world_size, run.complete) == (1, 3, True)
                    # A round's store begins anew, and works.
                    await asyncio.gather(*(again(world) for world in worlds))
                    await stack.aclose()
        assert others() == set()

    async def again(world: World) -> None:
        with suppress(StoreConnectionError):  # that the server is another one is said once
            await world.store.check(["k"])
        await world.store.barrier("end", 3)

    run_on(loop, main())


def test_no_server_is_no_rendezvous(free_port: int) -> None:
    """It says so in time."""

    async def main() -> None:
        with pytest.raises(RendezvousConnectionError, match="no store could be reached"):
            async with joined(free_port, connect_timeout=0.1):
                pass
        assert others() == set()

    asyncio.run(main())
