"""Following runs: what is refused, and what happens before it begins and after it has ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.aio import others, turns
from support.proxy import FaultProxy

import rendezvous.aio
from rendezvous import (
    Server,
    StoreClosedError,
    StoreLimitError,
    StoreUnsupportedError,
    StoreValueError,
)
from rendezvous.aio import Follow, follow


def test_what_the_server_refuses_is_raised() -> None:
    """It allows a connection to follow two runs."""

    async def all_of(changes: Follow) -> None:
        async for _ in changes:  # each is told what is there, and then waits
            pass

    async def main(port: int) -> None:
        async with follow(f"127.0.0.1:{port}", "a", "b", "c") as changes:
            with pytest.raises(StoreLimitError, match="runs_per_connection"):
                await all_of(changes)
            await changes._store.close()  # type: ignore[union-attr]
            with pytest.raises(StoreClosedError):
                await all_of(changes)

    with Server(limits={"runs_per_connection": 2}) as server:
        asyncio.run(main(server.port))


def test_runs_that_are_kept_elsewhere_cannot_be_followed(tmp_path: Any) -> None:
    """The error says what can be done."""

    async def main() -> None:
        for server in ("etcd://127.0.0.1:2379", "file:///tmp/x"):
            with pytest.raises(StoreUnsupportedError, match="rendezvous status"):
                follow(server, "job")
        async with rendezvous.aio.connect("hash:") as store:
            with pytest.raises(StoreUnsupportedError, match="is not just a server"):
                follow(store, "job")
        with pytest.raises(RuntimeError, match="enter follow"):
            follow("127.0.0.1:1").add("job")

    asyncio.run(main())


def test_what_is_not_entered_or_left_does_not_wait_for_ever(server: Server) -> None:
    """Nor does a task that still goes through the changes at the end."""

    async def main() -> None:
        following = follow(f"127.0.0.1:{server.port}", "job")
        with pytest.raises(RuntimeError, match="async with follow"):
            await asyncio.wait_for(anext(following), 60)
        async with following as changes:
            await anext(changes)
            waiting = asyncio.create_task(anext(changes))
            await turns(3)
        with pytest.raises(StoreClosedError, match="has ended"):
            await asyncio.wait_for(waiting, 60)
        for _ in range(2):
            with pytest.raises(StoreClosedError, match="has ended"):
                await asyncio.wait_for(anext(changes), 60)
        with pytest.raises(StoreClosedError, match="has ended"):
            changes.add("job")

    asyncio.run(main())


def test_what_cannot_be_followed_leaves_nothing_behind(proxy: FaultProxy) -> None:
    """Neither a connection nor the runs before it."""

    async def main() -> None:
        with pytest.raises(StoreValueError, match="run id"):
            async with follow(f"127.0.0.1:{proxy.port}", "job", ""):
                pass
        assert others() == set()
        async with follow(f"127.0.0.1:{proxy.port}", "job") as changes:
            with pytest.raises(StoreValueError, match="run id"):
                changes.add("")
            assert changes.run_ids == ("job",)
            with pytest.raises(TypeError, match=r"not list; pass several .* \*run_ids"):
                changes.add(["a", "b"])  # type: ignore[arg-type]

    asyncio.run(main())
