"""asyncio's store: what is cancelled is withdrawn at the server, and nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing, suppress

import pytest
from support.aio import LOOPS, RunAio, ended, in_flight, others, run_on, turns, waiting

import rendezvous.aio
from rendezvous import Server, StoreKeysMissingError, StoreLimitError


def test_a_request_that_is_cancelled_is_withdrawn_at_the_server() -> None:
    """The server keeps 100 waits a connection: 10,000 that were cancelled leave room for 100."""

    async def body() -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{server.port}", 60) as store:
            assert isinstance(store, rendezvous.aio.TCPStore)
            for _ in range(100):
                await ended(await waiting(store, 100))
                assert in_flight(store) == 0
            tasks = await waiting(store, 100)
            with pytest.raises(StoreLimitError):
                await store.wait(["one more"], 3600)
            await ended(tasks)
        assert others() == set()

    with Server(limits={"waits_per_connection": 100}) as server:
        for kind in LOOPS:
            run_on(kind, body())


def test_ten_thousand_waits_are_cancelled_at_once(run_aio: RunAio) -> None:
    """Nothing of them is left, here or at the server, of which the same connection tells."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        tasks = await waiting(store, 10_000)
        await ended(tasks)
        assert in_flight(store) == 0
        gc.collect()
        flights = [each for each in gc.get_objects() if type(each).__name__ == "Flight"]
        assert flights == []
        # They would be woken, and answered.
        await store.multi_set([f"never/{i}" for i in range(10_000)], ["v"] * 10_000)
        await store.ping()

    run_aio(body)


def test_a_task_can_be_cancelled_wherever_it_waits(run_aio: RunAio) -> None:
    """One turn of the loop later each time, until the call is over; the store works on."""

    async def calls(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", b"v" * 100_000)
        await store.get("k")
        await store.queue_push("q", "item")
        await store.queue_pop("q")
        async for _ in store.watch("k"):
            break
        async with aclosing(store.watch_prefix("k")) as changes:
            async for _ in changes:
                break

    async def body(store: rendezvous.aio.TCPStore) -> None:
        wait = 0
        while True:
            task = asyncio.create_task(calls(store))
            for _ in range(wait):
                await asyncio.sleep(0)
                if task.done():
                    break
            if not task.cancel():
                break
            with suppress(asyncio.CancelledError):
                await task
            assert in_flight(store) == 0
            assert others() == set()
            wait += 1
        assert wait > 5
        assert await store.add("n", 1) == 1

    run_aio(body)


def test_an_item_that_nobody_waits_for_any_more_goes_back(run_aio: RunAio) -> None:
    """A pop is cancelled when its item is here already, but the task has not seen it."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        task = asyncio.create_task(store.queue_pop("q"))
        await turns()
        await store.ping()
        push = asyncio.create_task(store.queue_push("q", "item"))
        while in_flight(store) > 0 or not push.done():
            if in_flight(store) == 0:
                break
            await asyncio.sleep(0)
            if in_flight(store) < 2 and not task.done():
                break
        task.cancel()
        await push
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        left = await store.queue_len("q")
        # It was told in time, or the item is back.
        assert (result, left) == (b"item", 0) or (
            isinstance(result, asyncio.CancelledError) and left == 1
        )
        if left:
            assert await store.queue_pop("q", False) == b"item"

    for _ in range(20):
        run_aio(body)


def test_a_timeout_of_the_callers_ends_the_call(run_aio: RunAio) -> None:
    """asyncio.wait_for's, long before the call's own; and the call's own is kept."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.get("k"), 0.05)
        assert in_flight(store) == 0
        with pytest.raises(StoreKeysMissingError) as caught:
            await store.get("k", 0.05)
        assert caught.value.keys == ["k"]

    run_aio(body)
