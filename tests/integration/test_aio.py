"""asyncio's store: its operations, and many requests at once on one connection."""

from __future__ import annotations

import asyncio
import inspect
import os
from contextlib import aclosing
from typing import Any

import pytest
from support.aio import RunAio, in_flight, turns
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import Server, Store, StoreClosedError, StoreKeysMissingError


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


def test_calls_are_coroutines(run_aio: RunAio) -> None:
    """So they can be made tasks of, awaited, or let go of."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await asyncio.create_task(store.set("k", "v"))
        assert await asyncio.create_task(store.watch("k")) == (b"v", 1)
        async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else aclosing(_Nothing()):
            assert await asyncio.wait_for(store.get("k"), 60) == b"v"
        store.get("k").close()

    run_aio(body)


class _Nothing:
    async def aclose(self) -> None:
        pass


def test_many_requests_are_in_flight_on_one_connection(server: Server, run_aio: RunAio) -> None:
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
        run_aio(body, proxy.port)
        assert proxy.connections == 1


def test_a_large_value_goes_both_ways(run_aio: RunAio) -> None:
    """Many times what a socket takes at once."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        value = os.urandom(20 * 1024 * 1024)
        small = [asyncio.create_task(store.set(f"s{i}", str(i))) for i in range(100)]
        await store.set("k", value)
        assert await store.get("k") == value
        await asyncio.gather(*small)

    run_aio(body)


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
