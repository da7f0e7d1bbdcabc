"""A run that nodes keep in etcd themselves: leaders that come and go, leases, what is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from handler_support import (
    DYING,
    FOR_ALL_S,
    RUN,
    EtcdRun,
    changes,
    die,
    join_all,
    joining,
)
from support.background import BACKSTOP_S, Background, eventually
from support.etcd import NO_ETCD, PASSWORD, USER, Cluster, binaries

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousConnectionError,
    RendezvousStateError,
    RendezvousTimeoutError,
)
from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, node_name
from rendezvous.backends.etcd.run.leader.leader import Leader
from rendezvous.backends.etcd.run.leader.press import FencedError
from rendezvous.backends.etcd.run.run import EtcdRun as Coordinator
from rendezvous.backends.etcd.transport import Message


@pytest.fixture
def run(etcd_endpoint: str) -> Iterator[EtcdRun]:
    run = EtcdRun(etcd_endpoint)
    yield run
    run.shutdown()


@pytest.fixture
def binary() -> str:
    """Of an etcd that the test itself starts."""
    if not binaries():
        pytest.skip(NO_ETCD)
    return binaries()[0]


def coordinator_of(handler: DynamicRendezvousHandler) -> Coordinator:
    coordinator = handler._coordinator
    assert isinstance(coordinator, Coordinator)
    return coordinator


def term_of(handler: DynamicRendezvousHandler) -> Leader | None:
    return coordinator_of(handler)._election.leader


def leader_of(handlers: list[DynamicRendezvousHandler]) -> DynamicRendezvousHandler:
    """Waits until there is one."""
    eventually("a leader", lambda: any(map(term_of, handlers)))
    (leader,) = [handler for handler in handlers if term_of(handler) is not None]
    return leader


def test_each_node_writes_one_small_key_and_one_node_leads(run: EtcdRun) -> None:
    """What is written per node does not grow with the run."""
    handlers = run.nodes(8, 8)
    join_all(handlers)
    assert leader_of(handlers) in handlers
    keys = RunKeys(run.prefix, RUN)
    found = run.etcd().range(*keys.nodes).kvs
    assert {kv.key for kv in found} == {keys.node(node_name(each.node)) for each in handlers}
    assert max(len(kv.value) for kv in found) < 400


def test_a_leader_that_leaves_hands_over_at_once(run: EtcdRun) -> None:
    """Nobody waits for a lease, and who leaves is done, not lost."""
    handlers = run.nodes(3, 3, keep_alive_interval=3600)
    join_all(handlers)
    leader = leader_of(handlers)
    leader.leave()
    others = [handler for handler in handlers if handler is not leader]
    leader_of(others)
    assert [handler.num_nodes_waiting() for handler in others] == [0, 0]
    assert run.look().lost == []


def test_a_leader_that_dies_is_lost_and_the_others_form_the_next_round(run: EtcdRun) -> None:
    """Its lease ends both its place and its term."""
    handlers = run.nodes(3, 2, 3, last_call_s=FOR_ALL_S, **DYING)
    join_all(handlers)
    leader = leader_of(handlers)
    die(leader)
    others = [handler for handler in handlers if handler is not leader]
    for handler in others:
        changes(handler, 1)
    assert {(info.round, info.world_size) for info in join_all(others)} == {(2, 2)}


def test_a_leader_that_dies_before_the_round_is_complete(run: EtcdRun) -> None:
    """Who joined before is in the round all the same; nobody has to ask again."""
    first = run.nodes(3, 3, **DYING)
    calls = [joining(handler) for handler in first[:2]]
    eventually("two nodes", lambda: len(run.look().participants) == 2)
    leader = leader_of(first[:2])
    die(leader)
    other = first[1] if leader is first[0] else first[0]
    eventually("a new leader", lambda: term_of(other) is not None)
    calls.append(joining(first[2]))
    last = joining(run.node(3, **DYING))
    infos = [calls[first.index(other)].result(), calls[2].result(), last.result()]
    assert {(info.round, info.world_size) for info in infos} == {(1, 3)}


def test_a_leader_that_dies_between_the_seats_and_the_publication(
    run: EtcdRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seats that were written and never published are nobody's: the successor completes the round,
    with the same nodes."""
    first = run.nodes(2, 3, 3, bootstrap_store=False)
    calls = [joining(handler) for handler in first]
    eventually("two nodes", lambda: len(run.look().participants) == 2)
    leader = leader_of(first)
    term = term_of(leader)
    assert term is not None
    # So that seats and summary are no longer one request.
    monkeypatch.setattr("rendezvous.backends.etcd.run.leader.press._REQUEST_KEYS_MAX", 1)
    write = term._press._write

    def write_and_die(operations: Callable[[int], list[Message]], value: bytes | None) -> None:
        if value is not None and Summary.decode(value).complete:
            run.etcd().revoke_lease(coordinator_of(leader)._place.lease)
            raise FencedError
        write(operations, value)

    monkeypatch.setattr(term._press, "_write", write_and_die)
    calls.append(joining(run.node(3, bootstrap_store=False)))
    assert term.join(Deadline.after(BACKSTOP_S))
    infos = [call.result() for call in calls]
    assert sorted(info.rank for info in infos) == [0, 1, 2]
    assert {(info.round, info.world_size) for info in infos} == {(1, 3)}


def test_a_completed_round_is_not_taken_back(run: EtcdRun) -> None:
    """The successor goes on from what was published: same round, same ranks, late joiners wait."""
    handlers = run.nodes(3, 3, 4, last_call_s=0.1, **DYING)
    infos = join_all(handlers)
    leader = leader_of(handlers)
    leader.leave(failed=True)
    others = [handler for handler in handlers if handler is not leader]
    leader_of(others)
    look = run.look()
    assert (look.round, look.lost) == (1, [leader.node])
    by_rank = dict(zip((info.rank for info in infos), handlers, strict=True))
    assert look.participants == [by_rank[rank].node for rank in range(3) if by_rank[rank] in others]


def test_a_leader_that_was_taken_for_dead_writes_no_more(run: EtcdRun) -> None:
    """Its key was another's in between: its next publication fails, and it stops."""
    handlers = run.nodes(2, 2, 3)
    join_all(handlers)
    leader = leader_of(handlers)
    term = term_of(leader)
    assert term is not None
    client = run.etcd()
    keys = RunKeys(run.prefix, RUN)
    client.delete(keys.leader)
    client.put(keys.leader, b"somebody else")
    before = client.range(keys.round).first
    late = joining(run.node(2, 3))  # gives the old leader something to publish
    assert term.join(Deadline.after(60))
    assert client.range(keys.round).first == before
    client.delete(keys.leader)
    for handler in handlers:
        changes(handler, 1)
    assert {info.round for info in [*join_all(handlers), late.result()]} == {2}


def test_a_live_node_whose_lease_ran_out_is_told_and_comes_back(run: EtcdRun) -> None:
    """The others see it as lost, and so does it itself."""
    handlers = run.nodes(2, 2)
    join_all(handlers)
    leader = leader_of(handlers)
    other = next(handler for handler in handlers if handler is not leader)
    run.etcd().revoke_lease(coordinator_of(other)._place.lease)
    for handler in handlers:
        changes(handler, 1)
    assert {info.round for info in join_all(handlers)} == {2}


def test_a_node_that_is_lost_while_it_joins_joins_again(run: EtcdRun) -> None:
    """Without its caller's help, also when it led."""
    call = joining(handler := run.node(2))
    eventually("listed", lambda: len(run.look().participants) == 1)
    run.etcd().revoke_lease(coordinator_of(handler)._place.lease)
    other = joining(run.node(2))
    assert {call.result().world_size, other.result().world_size} == {2}


def test_compare_and_set_users_of_the_run_are_kept_apart(run: EtcdRun) -> None:
    """Whoever comes second is told."""
    handler = run.node(1)
    handler.next_rendezvous()
    with pytest.raises(RendezvousStateError, match="rulebook"):
        run.node(1, rulebook="store").next_rendezvous()
    second = EtcdRun(run.endpoints)
    try:
        second.node(1, rulebook="store").next_rendezvous()
        with pytest.raises(RendezvousStateError, match="rulebook=store"):
            second.node(1).next_rendezvous()
    finally:
        second.shutdown()


def test_other_settings_are_refused(run: EtcdRun) -> None:
    """With what the others have."""
    first = joining(run.node(2))
    eventually("listed", lambda: len(run.look().participants) == 1)
    with pytest.raises(RendezvousStateError, match="other settings"):
        run.node(3).next_rendezvous()
    second = joining(run.node(2))
    assert first.result().world_size == second.result().world_size == 2


def test_a_timeout_says_who_is_there(run: EtcdRun) -> None:
    """And how many are missing."""
    patient = joining(run.node(3, join_s=60, local_addr="patient.invalid"))
    eventually("listed", lambda: len(run.look().participants) == 1)
    hasty = run.node(3, join_s=1, local_addr="hasty.invalid")
    with pytest.raises(RendezvousTimeoutError, match="2 of at least 3") as raised:
        hasty.next_rendezvous()
    assert len(raised.value.joined) == 2
    assert any("patient.invalid" in node for node in raised.value.joined)
    assert patient.running
    for handler in run.nodes(2, 3):
        joining(handler)
    assert patient.result().world_size == 3


def test_nodes_that_left_leave_no_keys(run: EtcdRun) -> None:
    """A run that goes on for months does not grow."""
    stays = run.node(1, 8, last_call_s=0.1)
    stays.next_rendezvous()
    for _ in range(3):
        handler = run.node(1, 8, last_call_s=0.1)
        call = joining(handler)
        changes(stays, 1)
        stays.next_rendezvous()
        call.result()
        handler.shutdown()
    keys = RunKeys(run.prefix, RUN)
    eventually("one key", lambda: len(run.etcd().range(*keys.nodes).kvs) == 1)


def test_many_nodes_meet_over_several_pages_of_seats(run: EtcdRun) -> None:
    """Every rank is given once, wherever it is written."""

    def join(handler: DynamicRendezvousHandler) -> int:
        # Without the bootstrap store, which is another's test.
        handler._membership.enter()
        time = JoinTime(Deadline.after(BACKSTOP_S), BACKSTOP_S, BACKSTOP_S)
        return coordinator_of(handler).join(0, time).rank

    handlers = run.nodes(250, 250, keep_alive_interval=5)
    calls = [Background(join, handler) for handler in handlers]
    assert sorted(call.result() for call in calls) == list(range(250))


def test_a_cluster_that_lost_its_data(binary: str) -> None:
    """All are told, as of any loss, and form a later round together."""
    with Cluster(binary) as cluster:
        run = EtcdRun(cluster.endpoints)
        try:
            handlers = run.nodes(3, 3)
            assert {info.round for info in join_all(handlers)} == {1}
            [member] = cluster.members
            member.kill()
            shutil.rmtree(cluster._folder / "data0")
            member.start()
            cluster.wait_ready()
            for handler in handlers:
                changes(handler, 1)
            assert {(info.round, info.world_size) for info in join_all(handlers)} == {(2, 3)}
        finally:
            run.shutdown()


def test_a_user_with_a_role_for_the_prefix_can_do_all_of_it(binary: str) -> None:
    """Nothing outside the prefixes is read, written or watched."""
    with Cluster(binary) as cluster:
        cluster.enable_users()
        run = EtcdRun(cluster.endpoints, "jobs/", user=USER, password=PASSWORD)
        try:
            handlers = run.nodes(2, 2)
            join_all(handlers)
            handlers[0].leave(failed=True)
            changes(handlers[1], 1)
            assert {info.round for info in join_all(handlers)} == {2}
        finally:
            run.shutdown()


def test_a_user_without_permission_is_told_at_once(binary: str) -> None:
    """Not at the join timeout, which may be hours."""
    with Cluster(binary) as cluster:
        cluster.enable_users()
        run = EtcdRun(cluster.endpoints, "elsewhere/", user=USER, password=PASSWORD)
        try:
            with pytest.raises(RendezvousConnectionError, match="permission"):
                run.node(1, join_s=3600).next_rendezvous()
        finally:
            run.shutdown()
