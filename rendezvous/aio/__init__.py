"""Stores for asyncio: the same operations, as coroutines.

    async with rendezvous.aio.connect("tcp://node0:29400") as store:
        await store.set("key", b"value")
        async for version, value in store.watch("key"):
            ...
    async with rendezvous.aio.follow("node0:29400", "job") as changes:
        async for run in changes:
            ...
    async with rendezvous.aio.join("node0:29400", nodes=(2, 4), run_id="job") as world:
        async for change in world:
            ...

docs/asyncio.md says what differs from the blocking stores. Public names only.
"""

from rendezvous.aio._change import Change
from rendezvous.aio._connect import connect
from rendezvous.aio._follow import Follow, follow
from rendezvous.aio._join import join
from rendezvous.aio._operations import Store
from rendezvous.aio._prefix import PrefixStore
from rendezvous.aio._run_change import Gone, Member, RunChange
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._threads import ThreadStore
from rendezvous.aio._watch import Watch
from rendezvous.aio._world import World

__all__ = [
    "Change",
    "Follow",
    "Gone",
    "Member",
    "PrefixStore",
    "RunChange",
    "Store",
    "TCPStore",
    "ThreadStore",
    "Watch",
    "World",
    "connect",
    "follow",
    "join",
]
