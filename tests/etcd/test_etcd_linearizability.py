"""Calls of many threads on etcd have an order that explains all their results, faults or not."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

import pytest
from property.linearizability import violations
from property.recording import CALLS_A_CLIENT, play
from support.background import BACKSTOP_S, Background
from support.etcd import Cluster, etcd_proxy

from rendezvous.backends.etcd import EtcdClient, EtcdStore
from rendezvous.errors import StoreKeysMissingError

SEED = os.environ.get("RDZV_HISTORY_SEED") or str(random.SystemRandom().randrange(2**32))
CLIENTS = 6


class Patient(EtcdStore):
    """Looks without waiting, and takes its time for that."""

    def get(self, key: str | bytes, timeout: object = None) -> bytes:
        del timeout
        value = self.try_get(key)
        if value is None:
            raise StoreKeysMissingError("there is none")
        return value


def check(stores: list[EtcdStore], number: int, disturb: Callable[[], None]) -> None:
    """Play a history on two keys while `disturb` is called again and again."""
    done = threading.Event()

    def disturbing() -> None:
        while not done.is_set():
            disturb()

    keys = [f"{number}/{name}".encode() for name in "ab"]
    seed = f"{SEED}-{number}"
    disturbance = Background(disturbing)
    playing = [
        Background(play, store, f"c{client}", keys, seed) for client, store in enumerate(stores)
    ]
    try:
        history = [call for each in playing for call in each.result()]
    finally:
        done.set()
        disturbance.result()
    assert len(history) == len(stores) * CALLS_A_CLIENT
    assert not any(call.is_open for call in history), "a call failed"
    found = [str(violation) for violation in violations(history)]
    assert not found, f"RDZV_HISTORY_SEED={SEED}, history {number}:\n" + "\n".join(found)


@pytest.mark.parametrize("lossy", [False, True], ids=["undisturbed", "lost answers"])
def test_threads_see_one_order(single: Cluster, lossy: bool) -> None:
    """Also while every few answers are lost, after what they answer was done."""
    pause = threading.Event()
    with etcd_proxy(single.members[0].port) as proxy:
        address = f"127.0.0.1:{proxy.port}"
        stores: list[EtcdStore] = [
            Patient(EtcdClient(address), "/order", BACKSTOP_S) for _ in range(CLIENTS)
        ]
        stores[0].delete_prefix("")

        def lose() -> None:
            # Not for ever: a client that is left alone, and pauses between its attempts, would
            # lose every answer.
            if losses:
                losses.pop()
                proxy.cut_before_next_reply()
            pause.wait(0.02)

        for number in range(3):
            losses = [None] * 20 * lossy
            check(stores, number, lose)


def test_threads_see_one_order_while_leaders_hang(trio: Cluster) -> None:
    """Each in turn; what it held back comes after others have gone on without it."""
    pause = threading.Event()
    stores: list[EtcdStore] = [Patient(trio.client(), "/order", BACKSTOP_S) for _ in range(CLIENTS)]

    def hang() -> None:
        leader = trio.leader()
        leader.pause()
        try:
            pause.wait(1.0)
        finally:
            leader.resume()
        pause.wait(0.2)

    for number in range(2):
        check(stores, number, hang)
