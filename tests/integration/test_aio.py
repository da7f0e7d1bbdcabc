"""asyncio's store: many requests at once, cancelling, watching, and what slow peers do to it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import resource
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from support.aio import LOOPS, others, run_on, turns
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import (
    Server,
    Store,
    StoreClosedError,
    StoreConnectionError,
    StoreKeysMissingError,
    StoreLimitError,
    StoreNoAnswerError,
    TCPStore,
)

Body = Callable[[rendezvous.aio.TCPStore], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest, server: Server) -> Run:
    """run(body, port=the server's, timeout=60): runs body(store) on each kind of loop."""

    def go(body: Body, port: int | None = None, timeout: float = 60.0) -> None:
        async def main() -> None:
            url = f"tcp://127.0.0.1:{port or server.port}"
            async with rendezvous.aio.connect(url, timeout) as store:
                assert isinstance(store, rendezvous.aio.TCPStore)
                await body(store)
            assert others() == set()

        run_on(request.param, main())

    return go


def in_flight(store: rendezvous.aio.TCPStore) -> int:
    connection = store._connections.usable
    return 0 if connection is None else connection.in_flight


async def waiting(store: rendezvous.aio.TCPStore, count: int) -> list[asyncio.Task[Any]]:
    """Tasks that wait for keys, and have told the server."""
    tasks = [asyncio.create_task(store.wait([f"never/{i}"], 3600)) for i in range(count)]
    await asyncio.sleep(0)
    await store.ping()
    assert in_flight(store) == count
    return tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found)


@pytest.mark.parametrize("operation", rendezvous.aio._operations.OPERATIONS)
@pytest.mark.parametrize("store", [rendezvous.aio.Store, rendezvous.aio.TCPStore])
def test_operations_are_those_of_the_blocking_store(store: type, operation: str) -> None:
    """Names, arguments, defaults and words; but that a watch may begin with what is there."""

    def shape(method: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(method).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    expected = shape(getattr(Store, operation))
    if operation == "watch":
        expected[2] = ("known_version", inspect.Parameter.POSITIONAL_OR_KEYWORD, 0)
    assert shape(getattr(store, operation)) == expected
    words = getattr(Store, operation).__doc__
    assert words
    assert getattr(store, operation).__doc__.startswith(words)


def test_no_operation_is_left_out() -> None:
    """What the blocking store can be asked, asyncio's can be, but for what torch's have."""
    names = {name for name in dir(Store) if not name.startswith("_")}
    assert names - set(dir(rendezvous.aio.TCPStore)) == set()


def test_calls_are_coroutines(run: Run) -> None:
    """So they can be made tasks of, awaited, or let go of."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await asyncio.create_task(store.set("k", "v"))
        assert await asyncio.create_task(store.watch("k")) == (b"v", 1)
        async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else aclosing(_Nothing()):
            assert await asyncio.wait_for(store.get("k"), 60) == b"v"
        store.get("k").close()

    run(body)


class _Nothing:
    async def aclose(self) -> None:
        pass


def test_many_requests_are_in_flight_on_one_connection(server: Server, run: Run) -> None:
    """Answers come in any order, and each to its own call."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        late = [asyncio.create_task(store.get(f"late/{i}")) for i in range(100)]
        await turns()
        await asyncio.gather(*(store.set(f"k{i}", str(i)) for i in range(1000)))
        values = await asyncio.gather(*(store.get(f"k{i}") for i in range(1000)))
        assert values == [str(i).encode() for i in range(1000)]
        assert not any(task.done() for task in late)
        for i in reversed(range(100)):
            await store.set(f"late/{i}", str(i))
        assert await asyncio.gather(*late) == [str(i).encode() for i in range(100)]
        assert in_flight(store) == 0

    with FaultProxy(server.port) as proxy:
        run(body, proxy.port)
        assert proxy.connections == 1


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


def test_ten_thousand_waits_are_cancelled_at_once(run: Run) -> None:
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

    run(body)


def test_a_task_can_be_cancelled_wherever_it_waits(run: Run) -> None:
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

    run(body)


def test_an_item_that_nobody_waits_for_any_more_goes_back(run: Run) -> None:
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
        run(body)


def test_a_timeout_of_the_callers_ends_the_call(run: Run) -> None:
    """asyncio.wait_for's, long before the call's own; and the call's own is kept."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.get("k"), 0.05)
        assert in_flight(store) == 0
        with pytest.raises(StoreKeysMissingError) as caught:
            await store.get("k", 0.05)
        assert caught.value.keys == ["k"]

    run(body)


def test_a_watch_sees_the_last_change(run: Run, connect: Callable[..., TCPStore]) -> None:
    """It begins with what is there, sees deletions, and goes on from where its loop was."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", "0")
        seen: list[bytes | None] = []
        async for version, value in store.watch("k"):
            seen.append(value)
            assert (version == 0) == (value is None)
            if len(seen) == 1:
                await store.delete_key("k")
            elif len(seen) == 2:
                for i in range(100):
                    await store.set("k", str(i))
            if value == b"99":
                break
        assert seen == [b"0", None, b"99"]

    run(body)


def test_a_slow_loop_gets_no_backlog(server: Server, run: Run) -> None:
    """Of a large value that changes all the time it holds one at most."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        value = bytes(4 * 1024 * 1024)
        await store.set("k", value)
        async for _ in store.watch("k"):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in range(50):
                await store.set("k", value)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            assert grown < 100, f"{grown:.0f} MiB"
            break

    run(body)


def test_a_prefix_is_watched(run: Run) -> None:
    """Keys that are there, that come, change, go, and come back; no others."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.multi_set(["run/a", "other"], ["1", "x"])
        async with aclosing(store.watch_prefix("run/", 0.01)) as changes:
            found = [await anext(changes)]
            await store.set("run/b", "2")
            found.append(await anext(changes))
            await store.set("run/a", "3")
            found.append(await anext(changes))
            await store.delete_key("run/a")
            found.append(await anext(changes))
            await store.set("run/a", "4")
            found.append(await anext(changes))
        assert [(key, value) for key, _, value in found] == [
            ("run/a", b"1"),
            ("run/b", b"2"),
            ("run/a", b"3"),
            ("run/a", None),
            ("run/a", b"4"),
        ]
        assert in_flight(store) == 0

    run(body)


def test_a_server_that_reads_nothing_slows_the_writers_down(proxy: FaultProxy, run: Run) -> None:
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

    run(body, proxy.port)


def test_a_large_value_goes_both_ways(run: Run) -> None:
    """Many times what a socket takes at once."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        value = os.urandom(20 * 1024 * 1024)
        small = [asyncio.create_task(store.set(f"s{i}", str(i))) for i in range(100)]
        await store.set("k", value)
        assert await store.get("k") == value
        await asyncio.gather(*small)

    run(body)


def test_reads_go_on_over_connections_that_break(proxy: FaultProxy, run: Run) -> None:
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

    run(body, proxy.port)


def test_a_write_whose_outcome_is_not_known_says_so(proxy: FaultProxy, run: Run) -> None:
    """It is not sent again, as it may have been applied."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.ping()
        proxy.cut_before_next_reply()
        with pytest.raises(StoreConnectionError, match="may or may not have been applied"):
            await store.add("n", 1)
        assert await store.add("n", 0) in (0, 1)

    run(body, proxy.port)


def test_a_silent_server_is_not_waited_for(proxy: FaultProxy, run: Run) -> None:
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

    run(body, proxy.port)


def test_a_connection_that_the_network_forgot_is_replaced(proxy: FaultProxy, run: Run) -> None:
    """One call times out; after it the store works."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.set("k", "v")
        proxy.swallow()
        store.set_timeout(0.05)
        with pytest.raises(StoreNoAnswerError):
            await store.get("k")
        store.set_timeout(60)
        assert await store.get("k") == b"v"

    run(body, proxy.port)


def test_calls_that_wait_end_with_the_store(run: Run) -> None:
    """And later ones are refused."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        tasks = await waiting(store, 10)
        await store.close()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, StoreClosedError) for each in found)
        with pytest.raises(StoreClosedError):
            await store.get("k")

    run(body)


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


@pytest.mark.parametrize("url", ["hash:", "file://{path}/store"])
def test_other_stores_run_in_threads(url: str, tmp_path: Any) -> None:
    """With the same operations and errors."""

    async def main() -> None:
        async with rendezvous.aio.connect(url.format(path=tmp_path)) as store:
            assert isinstance(store, rendezvous.aio.ThreadStore)
            waiter = asyncio.create_task(store.get("k"))
            await store.set("k", "v")
            assert await waiter == b"v"
            async for _, value in store.watch("k"):
                assert value == b"v"
                break
            with pytest.raises(StoreKeysMissingError):
                await store.get("no", 0.01)
        with pytest.raises(StoreClosedError):
            await store.get("k")

    asyncio.run(main())
