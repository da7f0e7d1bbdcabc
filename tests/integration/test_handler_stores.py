"""A handler over stores that users write: those with the least that a store can have."""

from __future__ import annotations

import pytest
from handler_support import Run
from support.background import Background
from support.foreign import SixOps

from rendezvous import PrefixStore, RendezvousInfo, Store


@pytest.mark.parametrize("prefixed", [False, True], ids=["itself", "below a prefix"])
def test_a_round_over_a_store_of_six_operations(prefixed: bool) -> None:
    """Nodes meet, use the round's store, meet again, and end."""
    shared: Store = SixOps()
    run = Run(lambda: PrefixStore("p", shared) if prefixed else shared)
    nodes = run.nodes(3, 3)

    def take_part(info: RendezvousInfo) -> list[bytes]:
        store = info.store
        assert isinstance(store, Store)
        store.set(f"mine/{info.rank}", "v")
        store.wait({f"mine/{rank}" for rank in range(info.world_size)})
        store.append(f"log/{info.rank}", "x")
        store.barrier("all", info.world_size, 60)
        return store.exchange("ranks", info.rank, info.world_size, f"{info.rank}", 60)

    for round_number in (1, 2):
        joining = [Background(node.next_rendezvous) for node in nodes]
        infos = [each.result() for each in joining]
        assert sorted(info.rank for info in infos) == [0, 1, 2]
        assert {info.round for info in infos} == {round_number}
        assert len({info.bootstrap_store_info for info in infos}) == 1
        for part in [Background(take_part, info) for info in infos]:
            assert part.result() == [b"0", b"1", b"2"]
    for node in nodes:
        node.shutdown()
