"""The further operations under 32 threads and 8 processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.background import Background
from support.etcd_kinds import CLUSTER_KINDS, Access
from support.process import PythonProcess, ServerProcess
from support.stores import Stores

from rendezvous import open_store

THREADS, PROCESSES = 32, 8


@pytest.mark.parametrize("shared", [False, True], ids=["own clients", "one client"])
def test_many_threads_exchange_again_and_again(stores: Stores, shared: bool) -> None:
    """Each round's values are that round's, for everybody."""
    one = stores.client()
    clients = [one if shared else stores.client() for _ in range(THREADS)]

    def play(rank: int) -> None:
        for turn in range(3):
            values = clients[rank].exchange(f"x{turn}", rank, THREADS, f"{turn} {rank}")
            assert values == [b"%d %d" % (turn, other) for other in range(THREADS)]

    for playing in [Background(play, rank) for rank in range(THREADS)]:
        playing.result()
    assert one.get("x2") == b"%d" % THREADS


def test_many_threads_count_by_version(stores: Stores) -> None:
    """set_if_version lets one of them through at a time."""
    if not stores.has_versions:
        pytest.skip("has no versions")
    stores.client().set("n", "0")

    def count() -> None:
        store = stores.client()
        for _ in range(5):
            swapped = False
            while not swapped:
                value, version = store.watch("n", 0)
                assert value is not None
                _, swapped = store.set_if_version("n", str(int(value) + 1), version)

    for counting in [Background(count) for _ in range(THREADS)]:
        counting.result()
    assert stores.client().get("n") == b"%d" % (THREADS * 5)


def test_many_watchers_see_the_last_value(stores: Stores) -> None:
    """However many changes there are meanwhile; each version is seen once, and none goes back."""
    if not stores.has_versions:
        pytest.skip("has no versions")
    store = stores.client()
    last = 50

    def watch() -> list[int]:
        mine, seen, version = stores.client(), [-1], 0
        while seen[-1] < last:
            value, version = mine.watch("n", version)
            assert value is not None
            seen.append(int(value))
        return seen

    watching = [Background(watch) for _ in range(THREADS)]
    for i in range(last + 1):
        store.set("n", str(i))
    for one in watching:
        seen = one.result()
        assert seen == sorted(set(seen))


PLAYER = """\
import sys
from rendezvous import open_store
url, rank, world_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = open_store(url)
store.set_timeout(600)
for turn in range(3):
    values = store.exchange(f"x{turn}", rank, world_size, f"{turn} {rank}")
    assert values == [f"{turn} {other}".encode() for other in range(world_size)], values
for _ in range(20):
    swapped = False
    while not swapped:
        value, version = store.watch("n", 0)
        _, swapped = store.set_if_version("n", str(int(value) + 1), version)
value, version = store.watch("n", 0)
while int(value) < 20 * world_size:
    value, version = store.watch("n", version)
assert store.try_get("missing") is None
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["tcp", "tcp-token", "tcp-tls", "file", "etcd", *CLUSTER_KINDS])
def address(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a store for processes, who have this one's environment."""
    if request.param.startswith("tcp"):
        request.getfixturevalue("set_credentials")(request.param)
        with ServerProcess() as server:
            yield f"tcp://127.0.0.1:{server.port}"
    elif request.param == "file":
        yield f"file://{tmp_path}/store"
    else:
        access: Access = request.getfixturevalue("etcd_access")(request.param)
        for name, value in access.environment.items():
            monkeypatch.setenv(name, value)
        yield access.url(str(uuid.uuid4()))


def test_processes_exchange_watch_and_count(address: str) -> None:
    """What threads do, processes do."""
    store = open_store(address)
    store.set("n", "0")
    store.set("ends", "", ttl=3600)
    players = [
        PythonProcess(PLAYER, address, str(rank), str(PROCESSES)) for rank in range(PROCESSES)
    ]
    try:
        for player in players:
            assert player.line() == "done"
        assert store.get("n") == b"%d" % (20 * PROCESSES)
        assert store.delete_prefix("x") == 3 * (PROCESSES + 2)
    finally:
        for player in players:
            player.close()
