"""A node that looks at a complete round late, by compare-and-set: rank 0 may have left by then."""

from __future__ import annotations

import threading
import time

import pytest
from support.background import Background, eventually

from rendezvous import C10dRendezvousBackend, DynamicRendezvousHandler, HashStore
from rendezvous._coordination.by_state.pace import Pace


def test_who_looks_after_rank_0_has_left_finds_the_keys_of_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first node of the list is another one by then, and no name for the round's keys."""
    look_again = threading.Event()

    def sleep(*_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            time.sleep(0.01)
        else:
            look_again.wait(60)

    monkeypatch.setattr(Pace, "sleep", sleep)
    store = HashStore()
    zero, one = (
        DynamicRendezvousHandler.from_backend(
            "run", store, C10dRendezvousBackend(store, "run"), 2, 2, local_addr=name
        )
        for name in ("127.0.0.1", "127.0.0.2")
    )
    waiting = Background(one.next_rendezvous)
    eventually("the first look", lambda: one.num_nodes_waiting() == 0 and store.num_keys() > 0)
    info = zero.next_rendezvous()
    assert info.rank == 0
    info.store.set("of rank 0", "here")
    zero.leave()
    look_again.set()

    late = waiting.result()

    assert (late.rank, late.world_size) == (1, 2)
    assert late.store.get("of rank 0") == b"here"
    one.shutdown()
    zero.shutdown()
