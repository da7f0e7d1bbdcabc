"""What the rounds of a run leave in a store that outlives them: nothing, once they are over."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.background import Background

from rendezvous import (
    FileStore,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    Server,
    Store,
    TCPStore,
    get_rendezvous_handler,
)
from rendezvous.backends.etcd import EtcdClient, EtcdStore

ROUNDS = "rendezvous.rounds/"
# Nobody is taken for dead, however slow the machine.
CONF: dict[str, Any] = {
    "last_call_timeout": 0.1,
    "keep_alive_interval": 0.2,
    "keep_alive_max_attempt": 1_000_000,
    "join_timeout": 120,
}


@dataclass
class Scene:
    """Where runs are kept, and the store in which their rounds have their keys."""

    run_id: str
    make: Callable[..., RendezvousHandler]
    store: Store

    def node(self, run_id: str | None = None, **options: Any) -> RendezvousHandler:
        return self.make(run_id or self.run_id, **options)

    def rounds(self) -> set[str]:
        """The spaces of rounds that there are keys of."""
        return {"/".join(key.split("/")[:3]) for key in self.store.list_keys(ROUNDS)}


@pytest.fixture(params=["server", "store", "file", "etcd", "etcd by all"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    run_id = f"run/{uuid.uuid4().hex}"

    def maker(backend: str, endpoint: str, **config: Any) -> Callable[..., RendezvousHandler]:
        def make(run_id: str, **options: Any) -> RendezvousHandler:
            parameters = RendezvousParameters(
                backend, endpoint, run_id, 2, 2, "127.0.0.1", **{**CONF, **config, **options}
            )
            return get_rendezvous_handler(parameters)

        return make

    if request.param.startswith("etcd"):
        endpoint = request.getfixturevalue("etcd_endpoint")
        rulebook = "auto" if request.param == "etcd" else "store"
        store = EtcdStore(EtcdClient(endpoint), f"/torch/elastic/store/{quote(run_id, safe='')}")
        yield Scene(run_id, maker("etcd", endpoint, rulebook=rulebook), store)
        store.close()
    elif request.param == "file":
        path = str(tmp_path / "store")
        yield Scene(run_id, maker("c10d", path, store_type="file"), FileStore(path))
    else:
        with Server() as server:
            make = maker("c10d", f"127.0.0.1:{server.port}", is_host=0, rulebook=request.param)
            with TCPStore("127.0.0.1", server.port) as users_store:
                yield Scene(run_id, make, users_store)


def meet(handlers: list[RendezvousHandler]) -> list[RendezvousInfo]:
    return [call.result() for call in [Background(h.next_rendezvous) for h in handlers]]


def use(infos: list[RendezvousInfo]) -> None:
    """As workers do: keys of the round's own, and a meeting."""
    for info in infos:
        info.store.set(f"of rank {info.rank}", "x")
    meetings = [Background(info.store.barrier, "all", info.world_size) for info in infos]
    for meeting in meetings:
        meeting.result()


def test_a_round_takes_away_what_earlier_ones_have_left(scene: Scene) -> None:
    """MASTER_ADDR, what its nodes have stored, their barriers; whoever has rank 0."""
    handlers = [scene.node(), scene.node()]
    names = set()
    for number in (1, 2, 3):
        infos = meet(handlers)
        use(infos)
        assert [info.round for info in infos] == [number] * 2
        [name] = {each for each in scene.rounds() if not each.endswith("/index")}
        names.add(name)
        assert {key for key in scene.store.list_keys(ROUNDS) if "/index/" not in key} >= {
            f"{name}/MASTER_ADDR", f"{name}/MASTER_PORT", f"{name}/of rank 0", f"{name}/of rank 1",
        }  # fmt: skip
    assert len(names) == 3
    for handler in handlers:
        assert handler.shutdown()
    assert scene.store.list_keys(ROUNDS) == []


def test_the_last_node_to_leave_takes_away_all(scene: Scene) -> None:
    """Not before: the others may still be at work."""
    handlers = [scene.node(), scene.node()]
    use(meet(handlers))
    assert handlers[0].shutdown()
    assert scene.rounds()
    assert handlers[1].shutdown()
    assert not scene.rounds()


def test_runs_whose_names_begin_alike_leave_each_others_rounds_alone(scene: Scene) -> None:
    """What one of them takes away is its own."""
    handlers = [scene.node(), scene.node()]
    infos = meet(handlers)
    use(infos)
    kept = set(scene.store.list_keys(ROUNDS))
    for name in (f"{scene.run_id}.1", f"{scene.run_id}/1", scene.run_id[:-1]):
        others = [scene.node(name), scene.node(name)]
        meet(others)
        meet(others)
        for handler in others:
            handler.shutdown()
    assert set(scene.store.list_keys(ROUNDS)) >= kept
    for handler in handlers:
        handler.shutdown()
