"""asyncio's store: connections that break or fall silent, peers that are slow, and its own end."""

from __future__ import annotations

import asyncio
import gc
import resource

import pytest
from support.aio import LOOPS, RunAio, in_flight, others, run_on, waiting
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import StoreClosedError, StoreConnectionError, StoreNoAnswerError


def test_a_server_that_reads_nothing_slows_the_writers_down(
    proxy: FaultProxy, run_aio: RunAio
) -> None:
    """Of 200 large values few are made requests of while the first are not taken."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.ping()
        proxy.freeze()
        value = bytes(4 * 1024 * 1024)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tasks = [asyncio.create_task(store.set(f"k{i}", value)) for i in range(200)]
        await asyncio.sleep(0.2)
        assert in_flight(store) < 20
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown < 200, f"{grown:.0f} MiB"
        proxy.thaw()
        await asyncio.gather(*tasks)
        assert len(await store.list_keys("k")) == 200
        await store.delete_prefix("k")

    run_aio(body, proxy.port)


def test_reads_go_on_over_connections_that_break(proxy: FaultProxy, run_aio: RunAio) -> None:
    """100 times; who waits is not told, and nothing is left of the old ones."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", "v")
        late = [asyncio.create_task(store.get(f"late/{i}")) for i in range(20)]
        for i in range(100):
            proxy.cut(reset=i % 2 == 1)
            assert await store.get("k") == b"v"
        assert proxy.connections > 100
        await store.multi_set([f"late/{i}" for i in range(20)], ["v"] * 20)
        await asyncio.gather(*late)
        assert in_flight(store) == 0
        assert len(store._connections._leaving) == 1
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each).__name__ == "Connection"]
        assert len(kept) == 1

    run_aio(body, proxy.port)


def test_a_write_whose_outcome_is_not_known_says_so(proxy: FaultProxy, run_aio: RunAio) -> None:
    """It is not sent again, as it may have been applied."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.ping()
        proxy.cut_before_next_reply()
        with pytest.raises(StoreConnectionError, match="may or may not have been applied"):
            await store.add("n", 1)
        assert await store.add("n", 0) in (0, 1)

    run_aio(body, proxy.port)


def test_a_silent_server_is_not_waited_for(proxy: FaultProxy, run_aio: RunAio) -> None:
    """Each call keeps its deadline, and the store works when the network does."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", "v")
        store.set_timeout(0.05)
        proxy.freeze()
        with pytest.raises(StoreNoAnswerError, match="get of key 'k'"):
            await store.get("k")
        with pytest.raises(StoreNoAnswerError):
            await store.set("k", "w")
        proxy.thaw()
        store.set_timeout(60)
        assert await store.get("k") in (b"v", b"w")

    run_aio(body, proxy.port)


def test_a_connection_that_the_network_forgot_is_replaced(
    proxy: FaultProxy, run_aio: RunAio
) -> None:
    """One call times out; after it the store works."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", "v")
        proxy.swallow()
        store.set_timeout(0.05)
        with pytest.raises(StoreNoAnswerError):
            await store.get("k")
        store.set_timeout(60)
        assert await store.get("k") == b"v"

    run_aio(body, proxy.port)


def test_calls_that_wait_end_with_the_store(run_aio: RunAio) -> None:
    """And later ones are refused."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        tasks = await waiting(store, 10)
        await store.close()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, StoreClosedError) for each in found)
        with pytest.raises(StoreClosedError):
            await store.get("k")

    run_aio(body)


@pytest.mark.parametrize("kind", LOOPS)
def test_connecting_can_be_cancelled(kind: str, free_port: int) -> None:
    """Nothing listens there; the dial ends."""

    async def main() -> None:
        task = asyncio.create_task(
            rendezvous.aio.connect(f"tcp://127.0.0.1:{free_port}").__aenter__()
        )
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StoreConnectionError, match="no store could be reached"):
            await rendezvous.aio.connect(f"tcp://127.0.0.1:{free_port}", 0.05)
        assert others() == set()

    run_on(kind, main())
