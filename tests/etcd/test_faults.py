"""Clusters that lose members, leaders and their majority; members that hang; history that is gone.

Real processes, ended and stopped by their pids.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from support.background import BACKSTOP_S, Background
from support.etcd import Cluster, Member, etcd_proxy

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdStore
from rendezvous.backends.etcd.client.wire import op_range
from rendezvous.backends.etcd.transport.errors import EtcdTimeoutError
from rendezvous.errors import StoreError, StoreTimeoutError

PREFIX = "/faults"
# The promise is 0.1 s; the rest is for machines that have other things to do.
LATE_S = 1.0


def store_of(cluster: Cluster, first: Member | None = None) -> EtcdStore:
    """A store that asks that member first."""
    store = EtcdStore(cluster.client(), PREFIX, BACKSTOP_S)
    if first is not None:
        members = store._client._members
        while members.current.port != first.port:
            members.leave(members.current)
    return store


def another(cluster: Cluster, *but: Member) -> Member:
    return next(member for member in cluster.members if member not in but)


def wait_for(cluster: Cluster, member: Member) -> None:
    """Until that member knows all that the majority has agreed on."""
    client = EtcdClient(f"127.0.0.1:{member.port}", tls=cluster.tls)
    client.range(b"ready?", deadline=Deadline.after(BACKSTOP_S))
    client.close()


def test_a_member_that_is_killed_is_passed_over(trio: Cluster) -> None:
    """Calls and waits that were with it go on with another; back again, it is of use."""
    leader = trio.leader()
    victim = another(trio, leader)
    store, other = store_of(trio, victim), store_of(trio, leader)
    store.set("a", "1")
    getting = Background(store_of(trio, victim).get, "k").let_block()
    victim.kill()
    assert store.get("a") == b"1"
    store.set("b", "2")
    other.set("k", "v")
    assert getting.result() == b"v"
    victim.start()
    wait_for(trio, victim)
    assert store_of(trio, victim).get("b") == b"2"


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_leader_that_is_lost_is_replaced(trio: Cluster, how: str) -> None:
    """Killed or hanging: values, waits and the rendezvous state go on with the next leader."""
    leader = trio.leader()
    store, other = store_of(trio, leader), store_of(trio, another(trio, leader))
    backend = EtcdRendezvousBackend(store_of(trio, leader)._client, "run")
    answer = backend.set_state(b"before")
    assert answer is not None
    store.set("a", "1")
    getting = Background(store_of(trio, leader).get, "k").let_block()
    popping = Background(store_of(trio, leader).queue_pop, "q").let_block()
    leader.kill() if how == "kill" else leader.pause()
    store.set("a", "2")
    assert store.add("n", 1) == 1
    other.set("k", "v")
    other.queue_push("q", "item")
    assert getting.result() == b"v"
    assert popping.result() == b"item"
    after = backend.set_state(b"after", answer[1])
    assert after is not None
    assert after[2]
    if how == "pause":
        leader.resume()
    else:
        leader.start()
    wait_for(trio, leader)
    assert store_of(trio, leader).multi_get(["a", "n"]) == [b"2", b"1"]


def test_no_count_is_lost_or_doubled_while_leaders_fall(trio: Cluster) -> None:
    """Each add and each pushed item counts once, whatever became of its answer."""
    stop = threading.Event()

    def count() -> int:
        store = store_of(trio)
        counted = 0
        while not stop.is_set():
            store.add("n", 1)
            store.queue_push("q", "item")
            counted += 1
        store.close()
        return counted

    counting = [Background(count) for _ in range(4)]
    watching = store_of(trio)
    goal = 0
    for how in ("kill", "pause"):
        goal += 20
        while int(watching.try_get("n") or 0) < goal:
            time.sleep(0.01)
        leader = trio.leader()
        leader.kill() if how == "kill" else leader.pause()
        goal = int(watching.get("n")) + 20
        while int(watching.try_get("n") or 0) < goal:
            time.sleep(0.01)
        leader.start() if how == "kill" else leader.resume()
        wait_for(trio, leader)
    stop.set()
    total = sum(each.result() for each in counting)
    assert watching.get("n") == b"%d" % total
    assert watching.queue_len("q") == total


def test_a_write_that_a_member_held_back_undoes_nothing(trio: Cluster) -> None:
    """It gets the request, hangs, and comes back when others have written since."""
    leader = trio.leader()
    frozen = another(trio, leader)
    slow, quick = store_of(trio, frozen), store_of(trio, leader)
    slow.set("k", "first")  # its writer, its lease and its connection are there
    frozen.pause()
    slow.set("k", "mine")
    quick.set("k", "newer")
    frozen.resume()
    wait_for(trio, frozen)
    # What the member held back goes through the leader; so does this, after it.
    for number in range(20):
        store_of(trio, frozen).set("after", str(number))
        assert quick.get("k") == b"newer"


def test_short_calls_of_a_watch_notice_a_member_that_hangs(trio: Cluster) -> None:
    """Its silence counts over all of them: who looks often waits no longer than who looks once."""
    leader = trio.leader()
    frozen = another(trio, leader)
    slow, quick = store_of(trio, frozen), store_of(trio, leader)
    quick.set("k", "before")
    revision = quick.watch("k", 0)[1]
    with slow._client.watch([(b"/faults/keys/k", b"")], revision) as watch:
        assert watch.next(Deadline.after(BACKSTOP_S))
        frozen.pause()
        try:
            quick.set("k", "after")
            backstop = Deadline.after(BACKSTOP_S)
            while not (events := watch.next(Deadline.after(0.1))):
                assert not backstop.is_over
        finally:
            frozen.resume()
    assert [event.kv.value for event in events] == [b"after"]


def test_without_a_majority_calls_end_with_their_deadline(trio: Cluster) -> None:
    """And go on by themselves when it is back; who waited then gets what comes."""
    leader = trio.leader()
    stay = another(trio, leader)
    gone = another(trio, leader, stay)
    store = store_of(trio, stay)
    store.set("a", "1")
    getting = Background(store_of(trio, stay).get, "k").let_block()
    leader.kill()
    gone.kill()
    client = store._client
    for call, ambiguous in (
        (lambda: client.range(b"k", deadline=Deadline.after(2.5)), False),
        (lambda: client.put(b"k", b"", deadline=Deadline.after(2.5)), None),
    ):
        begin = time.monotonic()
        with pytest.raises(Exception, match="a majority of the members") as caught:
            call()
        assert time.monotonic() - begin < 2.5 + LATE_S
        if ambiguous is not None:
            assert isinstance(caught.value, EtcdTimeoutError)
            assert caught.value.ambiguous is ambiguous
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError):
        store.get("k", 0.5)
    assert time.monotonic() - begin < 0.5 + LATE_S
    setting = Background(store.set, "late", "v").let_block()
    leader.start()
    setting.result()
    assert getting.running
    store.set("k", "v")
    assert getting.result() == b"v"
    assert store.get("late") == b"v"


def test_history_that_is_gone_when_a_watch_comes_back_is_read_anew(single: Cluster) -> None:
    """Its connection broke, and meanwhile the revisions from which it wanted to go on went."""
    direct = EtcdStore(single.client(), "/compacted", BACKSTOP_S)
    direct.delete_prefix("")
    direct.set("seen", "1")
    _, version = direct.watch("seen", 0)
    # A port that is held, on which nobody listens, cannot become another test's meanwhile.
    with socket.socket() as nobody, etcd_proxy(single.members[0].port) as proxy:
        nobody.bind(("127.0.0.1", 0))
        away = EtcdStore(EtcdClient(f"127.0.0.1:{proxy.port}"), "/compacted", BACKSTOP_S)
        calls: list[Background[Any]] = [
            Background(away.get, "k"),
            Background(away.wait, ["k", "j"]),
            Background(away.watch, "seen", version),
            Background(away.queue_pop, "q"),
        ]
        calls[-1].let_block()
        proxy.target_port = nobody.getsockname()[1]
        proxy.cut()
        for number in range(10):
            direct.set(f"other {number}", "")
        direct.set("k", "v")
        direct.multi_set(["j", "seen"], ["", "2"])
        direct.queue_push("q", "item")
        last = direct.set_if_version("last", "", 0)[0]
        single.admin("kv/compaction", revision=str(last))
        proxy.target_port = single.members[0].port
        assert calls[0].result() == b"v"
        calls[1].result()
        assert calls[2].result()[0] == b"2"
        assert calls[3].result() == b"item"
    direct.close()


def test_a_wait_outlives_a_restart_of_a_single_member(binary: str) -> None:
    """Nothing is lost, and nobody has to start again."""
    with Cluster(binary) as cluster:
        [member] = cluster.members
        store = store_of(cluster)
        store.set("a", "1")
        getting = Background(store_of(cluster).get, "k").let_block()
        member.kill()
        setting = Background(store.set, "k", "v").let_block()
        member.start()
        setting.result()
        assert getting.result() == b"v"
        assert store.get("a") == b"1"


def test_waits_go_on_when_a_cluster_has_lost_its_data(binary: str) -> None:
    """Its revisions begin anew: a watch from a later one would hear nothing for long."""
    with Cluster(binary) as cluster:
        [member] = cluster.members
        store = store_of(cluster)
        for number in range(20):
            store.set("a", str(number))
        getting = Background(store_of(cluster).get, "k").let_block()
        backend = EtcdRendezvousBackend(store._client, "run")
        answer = backend.set_state(b"state")
        assert answer is not None
        member.kill()
        cluster.lose_data()
        member.start()
        cluster.wait_ready()
        assert store.try_get("a") is None
        assert backend.set_state(b"more", answer[1]) is None
        assert store.add("n", 1) == 1
        store.set("k", "v")
        assert getting.result() == b"v"


def test_a_reader_that_goes_away_halfway_stops_no_member(binary: str) -> None:
    """Some versions of etcd panic when the client of a transaction that only reads is gone before
    its end; a client is gone when its deadline has passed."""
    with Cluster(binary) as cluster:
        client = cluster.client()
        for number in range(128):
            client.put(b"k/%03d" % number, b"x" * 500)

        def give_up_again_and_again() -> None:
            reader = cluster.client()
            for _ in range(50):
                with suppress(StoreError):
                    # 8 MB, so that the member is at it for a while.
                    everything = [op_range(b"k/", b"k0")] * 128
                    reader.read(everything, deadline=Deadline.after(random.uniform(0.0, 0.02)))
            reader.close()

        readers = [Background(give_up_again_and_again) for _ in range(4)]
        for each in readers:
            each.result()
        assert client.range(b"k/000").first is not None
