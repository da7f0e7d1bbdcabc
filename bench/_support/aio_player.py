"""One process that measures an asyncio client; bench/aio.py starts it for each run.

    python aio_player.py WHAT PEER LOOP PORT SECONDS

Prints its figures as JSON. WHAT: tasks (100 of them, each with one request in flight), one (a
request at a time), waits (10,000 held by one task), join (1,000 nodes of one run, in one task).
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

KEY = "key"
VALUE = b"v" * 64
TASKS = 100
WAITS = 10_000
NODES = 1_000
Get = Callable[[str], Awaitable[Any]]


async def ours(port: int, stack: AsyncExitStack) -> Get:
    import rendezvous.aio

    store = await stack.enter_async_context(rendezvous.aio.connect(f"tcp://127.0.0.1:{port}"))
    await store.set(KEY, VALUE)
    return store.get


async def plain(port: int, stack: AsyncExitStack) -> Get:
    from _support import plain_native

    await ours(port, stack)
    client = await plain_native.connect(port)
    stack.callback(client.close)
    return client.get


async def redis(port: int, stack: AsyncExitStack) -> Get:
    import redis.asyncio

    client = redis.asyncio.Redis(port=port)
    stack.push_async_callback(client.aclose)
    await client.set(KEY, VALUE)
    get: Get = client.get
    return get


PEERS = {"ours": ours, "plain": plain, "redis": redis}


async def tasks(get: Get, seconds: float) -> dict[str, float]:
    """Operations a second."""
    end = time.perf_counter() + seconds
    count = 0

    async def ask() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await get(KEY)
            count += 1

    begin = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(TASKS)))
    return {"per_second": count / (time.perf_counter() - begin)}


async def one(get: Get, seconds: float) -> dict[str, float]:
    """The time of a call, one after the other."""
    begin = time.perf_counter()
    end = begin + seconds
    count = 0
    while time.perf_counter() < end:
        for _ in range(100):
            await get(KEY)
        count += 100
    return {"us": (time.perf_counter() - begin) / count * 1e6}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def waits(get: Get, seconds: float) -> dict[str, float]:
    """The memory of a wait, its task included, and the processor's time while nothing happens."""
    # What the first of them costs is not theirs.
    first = [asyncio.ensure_future(get(f"first/{i}")) for i in range(100)]
    await get(KEY)
    gc.collect()
    before = resident_bytes()
    held = [asyncio.ensure_future(get(f"never/{i}")) for i in range(WAITS)]
    await get(KEY)
    grown = resident_bytes() - before
    cpu = time.process_time()
    await asyncio.sleep(seconds)
    cpu = time.process_time() - cpu
    for task in [*first, *held]:
        task.cancel()
    await asyncio.gather(*first, *held, return_exceptions=True)
    return {"bytes": grown / WAITS, "idle_percent": 100 * cpu / seconds}


async def join(port: int) -> dict[str, float]:
    """From the first connection until the last of the nodes has its rank."""
    import rendezvous.aio

    run_id = f"run-{time.time_ns()}"
    begin = time.perf_counter()
    async with AsyncExitStack() as stack:
        worlds = await asyncio.gather(
            *(
                stack.enter_async_context(
                    rendezvous.aio.join(f"127.0.0.1:{port}", (NODES, NODES), run_id)
                )
                for _ in range(NODES)
            )
        )
        seconds = time.perf_counter() - begin
        assert sorted(world.rank for world in worlds) == list(range(NODES))
    return {"seconds": seconds}


def one_blocking(port: int, seconds: float) -> dict[str, float]:
    import rendezvous

    with rendezvous.TCPStore("127.0.0.1", port) as store:
        store.set(KEY, VALUE)
        begin = time.perf_counter()
        end = begin + seconds
        count = 0
        while time.perf_counter() < end:
            for _ in range(100):
                store.get(KEY)
            count += 100
        return {"us": (time.perf_counter() - begin) / count * 1e6}


async def play(what: str, peer: str, port: int, seconds: float) -> dict[str, float]:
    if what == "join":
        return await join(port)
    async with AsyncExitStack() as stack:
        get = await PEERS[peer](port, stack)
        return await {"tasks": tasks, "one": one, "waits": waits}[what](get, seconds)


def main() -> None:
    what, peer, loop, port, seconds = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[1]))
    if peer == "blocking":
        found = one_blocking(int(port), float(seconds))
    else:
        call = play(what, peer, int(port), float(seconds))
        if loop == "uvloop":
            import uvloop

            found = uvloop.run(call)
        else:
            found = asyncio.run(call)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
