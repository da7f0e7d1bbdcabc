"""asyncio's store: keys and prefixes that are watched."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

import pytest
from support.aio import RunAio, in_flight, turns
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import Server, StoreRestartedError, TCPStore


def test_a_watch_sees_the_last_change(run_aio: RunAio, connect: Callable[..., TCPStore]) -> None:
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

    run_aio(body)


def test_a_slow_loop_gets_no_backlog(server: Server, run_aio: RunAio) -> None:
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

    run_aio(body)


def test_a_prefix_is_watched(run_aio: RunAio) -> None:
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

    run_aio(body)


def test_a_prefix_is_told_of_while_nothing_is_asked_for(run_aio: RunAio) -> None:
    """What changes while the loop is busy is told once for each key, as it is then."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        async with aclosing(store.watch_prefix("run/")) as changes:
            await store.set("run/first", "1")
            assert (await anext(changes))[0] == "run/first"
            for i in range(100):
                await store.set("run/a", str(i))
            await store.set("run/b", "x")
            await store.delete_key("run/b")
            await store.delete_key("run/first")
            await store.set("run/last", "x")
            found = [await anext(changes) for _ in range(3)]
        assert [(key, value) for key, _, value in found] == [
            ("run/a", b"99"),
            ("run/first", None),
            ("run/last", b"x"),
        ]

    run_aio(body)


def test_one_request_watches_thousands_of_keys(run_aio: RunAio) -> None:
    """Its answers come in parts; keys that change while they are listed are told anew."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        keys = [f"run/{i:05}" for i in range(10_000)]
        await store.multi_set(keys, [b"v" * 100] * len(keys))
        seen: dict[str, bytes] = {}
        async with aclosing(store.watch_prefix("run/")) as changes:
            async for key, _, value in changes:
                assert value is not None
                assert in_flight(store) == 0
                seen[key] = value
                if len(seen) == 100:
                    await store.set(keys[0], "changed")
                    await store.set(keys[-1], "changed, too")
                if len(seen) == len(keys) and seen[keys[0]] == b"changed":
                    break
            assert seen.keys() == set(keys)
            assert seen[keys[-1]] == b"changed, too"
            next_change = asyncio.create_task(anext(changes))
            while in_flight(store) == 0:
                await asyncio.sleep(0)
            assert in_flight(store) == 1
            await store.delete_key(keys[5])
            assert await next_change == (keys[5], 0, None)
        assert in_flight(store) == 0

    run_aio(body)


def test_a_prefix_is_watched_over_connections_that_break(
    proxy: FaultProxy, run_aio: RunAio, connect: Callable[..., TCPStore]
) -> None:
    """What is known is not told again, and what has changed meanwhile is."""
    other = connect()
    other.multi_set(["run/a", "run/b"], ["1", "1"])

    async def body(store: rendezvous.aio.TCPStore) -> None:
        other.multi_set(["run/a", "run/b"], ["1", "1"])
        async with aclosing(store.watch_prefix("run/")) as changes:
            assert [(await anext(changes))[0] for _ in range(2)] == ["run/a", "run/b"]
            for i in range(20):
                proxy.cut(reset=i % 2 == 1)
                other.set("run/a", str(i))
                key, _, value = await anext(changes)
                assert (key, value) == ("run/a", str(i).encode())

    run_aio(body, proxy.port)


def test_what_a_server_forgot_of_a_prefix_is_looked_for_anew(run_aio: RunAio) -> None:
    """More has changed than it remembers: what went meanwhile is told as well."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        await store.multi_set(["run/gone", "run/kept"], ["x", "x"])
        async with aclosing(store.watch_prefix("run/")) as changes:
            assert [(await anext(changes))[0] for _ in range(2)] == ["run/gone", "run/kept"]
            await store.delete_key("run/gone")
            names = [f"run/{i}/{'n' * 10_000}" for i in range(200)]
            await store.multi_set(names, ["x"] * len(names))
            await store.delete_prefix("run/1")
            await store.set("run/kept", "y")
            found = [await anext(changes)]
            while found[-1][0] != "run/gone":
                found.append(await anext(changes))
        values = {key: value for key, _, value in found}
        assert values["run/kept"] == b"y"
        assert values.keys() == {"run/gone", "run/kept", *await store.list_keys("run/")}

    run_aio(body)


def test_a_watch_of_a_prefix_says_that_the_server_lost_its_data(proxy: FaultProxy) -> None:
    """Once; who watches again begins anew."""

    async def main(second: Server) -> None:
        url = f"tcp://127.0.0.1:{proxy.port}"
        async with rendezvous.aio.connect(url, 60) as store:
            await store.set("run/a", "1")
            async with aclosing(store.watch_prefix("run/")) as changes:
                assert (await anext(changes))[0] == "run/a"
                proxy.target_port = second.port
                proxy.cut()
                with pytest.raises(StoreRestartedError):
                    await anext(changes)
            await store.set("run/b", "2")
            async with aclosing(store.watch_prefix("run/")) as changes:
                assert (await anext(changes))[0] == "run/b"

    with Server() as second:
        asyncio.run(main(second))


@pytest.mark.parametrize("is_told", [True, False], ids=["while it waited", "meanwhile"])
@pytest.mark.parametrize("of_view", [True, False])
def test_a_watch_goes_on_at_a_server_that_counts_its_versions_anew(
    proxy: FaultProxy, is_told: bool, of_view: bool
) -> None:
    """A value of the version that was known is another one; a key that is not there is gone."""

    async def main(second: Server) -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{proxy.port}", 60) as connected:
            assert isinstance(connected, rendezvous.aio.TCPStore)
            store: rendezvous.aio.Store = connected
            if of_view:
                store = rendezvous.aio.PrefixStore("of", connected)
            await store.multi_set(["changes", "goes"], ["old", "old"])
            watches = [store.watch("changes"), store.watch("goes")]
            before = [await anext(watch) for watch in watches]
            async with aclosing(store.watch_prefix("")) as prefix:
                assert [(await anext(prefix))[0] for _ in range(2)] == ["changes", "goes"]
                waiting = [asyncio.create_task(anext(watch)) for watch in watches if is_told]
                while in_flight(connected) < len(waiting):
                    await turns(1)
                proxy.target_port = second.port
                proxy.cut()
                for task in waiting:
                    with pytest.raises(StoreRestartedError):
                        await task
                with suppress(StoreRestartedError):
                    await connected.ping()
                await store.set("changes", "new")
                assert await asyncio.wait_for(anext(watches[0]), 60) == (before[0][0], b"new")
                assert await asyncio.wait_for(anext(watches[1]), 60) == (0, None)
                found = [await asyncio.wait_for(anext(prefix), 60) for _ in range(2)]
                assert found == [("changes", before[0][0], b"new"), ("goes", 0, None)]

    with Server() as second:
        asyncio.run(main(second))


def test_a_prefix_of_a_view_is_watched(run_aio: RunAio) -> None:
    """Keys have the names that they have in the view."""

    async def body(store: rendezvous.aio.TCPStore) -> None:
        view = rendezvous.aio.PrefixStore("outer", store)
        await store.set("run/x", "no")
        await view.set("run/a", "1")
        async with aclosing(view.watch_prefix("run/")) as changes:
            assert await anext(changes) == ("run/a", 2, b"1")
            await view.delete_key("run/a")
            assert await anext(changes) == ("run/a", 0, None)

    run_aio(body)


@pytest.mark.parametrize("url", ["hash:", "file://{path}/store"])
def test_other_stores_prefixes_are_looked_at(url: str, tmp_path: Any) -> None:
    """Every `interval`: what is there, what changed and what went."""

    async def main() -> None:
        async with rendezvous.aio.connect(url.format(path=tmp_path)) as store:
            await store.set("run/a", "1")
            async with aclosing(store.watch_prefix("run/", 0.01)) as changes:
                found = [await anext(changes)]
                await store.set("run/b", "2")
                found.append(await anext(changes))
                await store.set("run/a", "3")
                found.append(await anext(changes))
                await store.delete_key("run/b")
                found.append(await anext(changes))
        assert [(key, value) for key, _, value in found] == [
            ("run/a", b"1"),
            ("run/b", b"2"),
            ("run/a", b"3"),
            ("run/b", None),
        ]

    asyncio.run(main())


@pytest.mark.parametrize("interval", [-1, float("nan"), timedelta(seconds=-1)])
@pytest.mark.parametrize("is_remote", [True, False])
def test_an_interval_that_is_none_is_refused(
    server: rendezvous.Server, interval: Any, is_remote: bool
) -> None:
    """By every store alike, also one that has no use for it."""
    url = f"tcp://127.0.0.1:{server.port}" if is_remote else "hash:"

    async def main() -> None:
        async with rendezvous.aio.connect(url) as store:
            with pytest.raises(ValueError, match="an interval must not be negative"):
                store.watch_prefix("run/", interval)

    asyncio.run(main())
