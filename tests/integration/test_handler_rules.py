"""Rules that torch elastic does not have, in each way of keeping a run.

By the store's server, by the nodes, and by a leader over etcd.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from handler_support import FOR_ALL_S, RUN, EtcdRun, Run, join_all, joining, run_kept_by, stored_run
from support.background import eventually

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousClosedError,
    RendezvousFailedError,
    RendezvousRules,
    RendezvousStateError,
    RendezvousTimeoutError,
    Server,
    TCPStore,
)
from rendezvous.backends.etcd import EtcdRendezvousBackend
from rendezvous.backends.etcd.run.keys import RunKeys


@pytest.fixture(params=["server", "store", "etcd"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with run_kept_by(request.param, request) as run:
        yield run


def _node(
    run: Run, number: int, *nodes: int, last_call_s: float = 0.1, **rules: Any
) -> DynamicRendezvousHandler:
    """Of an address of its own on this machine."""
    made = RendezvousRules(**{"debounce": 0.0, **rules})
    return run.node(*nodes, local_addr=f"127.0.0.{number}", rules=made, last_call_s=last_call_s)


def _numbers(handlers: list[DynamicRendezvousHandler]) -> dict[int, int]:
    """The rank of each node's number, in a round of all of them."""
    infos = join_all(handlers)
    numbers = [int(handler.node.addr.rpartition(".")[2]) for handler in handlers]
    return {info.rank: number for info, number in zip(infos, numbers, strict=True)}


def test_who_replaces_a_node_takes_its_rank_and_the_others_keep_theirs(run: Run) -> None:
    """The natural order of addresses decides in the first round only."""
    a, b, d = (_node(run, number, 2, 3, last_call_s=FOR_ALL_S) for number in (1, 2, 4))
    assert _numbers([a, b, d]) == {0: 1, 1: 2, 2: 4}
    a.leave(failed=True)
    c = _node(run, 3, 2, 3, last_call_s=FOR_ALL_S)
    waiting = joining(c)
    eventually("the newcomer", lambda: len(run.look().waiting + run.look().spares) == 1)
    again = [joining(b), joining(d)]
    assert [info.result().rank for info in (waiting, *again)] == [0, 1, 2]


def test_ranks_follow_the_topology(run: Run) -> None:
    """Nodes of one key are neighbours, and each knows its own."""
    keys = {1: "sw2", 2: "sw10", 3: "sw2", 4: "sw10"}
    nodes = [_node(run, n, 4, rank_by="topology", topology=key) for n, key in keys.items()]
    assert _numbers(nodes) == {0: 1, 1: 3, 2: 2, 3: 4}


def test_a_given_rank_that_another_node_has_is_refused_by_name(run: Run) -> None:
    """Whoever came second is told who holds it."""
    first = _node(run, 1, 2, rank_by="given", rank=1)
    waiting = joining(first)
    eventually("the first node", lambda: len(run.look().participants) == 1)
    with pytest.raises(RendezvousStateError, match=r"rank 1 is that of node 127\.0\.0\.1 \(pid"):
        _node(run, 2, 2, rank_by="given", rank=1).next_rendezvous()
    second = joining(_node(run, 3, 2, rank_by="given", rank=0))
    assert (waiting.result().rank, second.result().rank) == (1, 0)


def test_a_round_names_the_neighbours(run: Run) -> None:
    """By rank, in a ring."""
    infos = join_all([_node(run, number, 3) for number in (1, 2, 3)])
    around = {info.rank: info.neighbours for info in infos}
    assert around == {
        0: ("127.0.0.3", "127.0.0.2"),
        1: ("127.0.0.1", "127.0.0.3"),
        2: ("127.0.0.2", "127.0.0.1"),
    }


def test_all_nodes_learn_why_a_run_was_closed(run: Run) -> None:
    """Those that wait, those that come, and those that ask."""
    first, second = _node(run, 1, 2), _node(run, 2, 2)
    waiting = joining(first)
    eventually("the first node", lambda: len(run.look().participants) == 1)
    second.set_closed("do not restart: the data set is broken")
    with pytest.raises(RendezvousClosedError, match="the data set is broken"):
        waiting.result()
    with pytest.raises(RendezvousClosedError, match="the data set is broken"):
        _node(run, 3, 2).next_rendezvous()
    assert first.close_reason() == "do not restart: the data set is broken"


def test_all_nodes_learn_that_nobody_shall_restart_the_run(run: Run) -> None:
    """Another error than that of an ordinary close; whoever has said so."""
    first, second = _node(run, 1, 2), _node(run, 2, 2)
    waiting = joining(first)
    eventually("the first node", lambda: len(run.look().participants) == 1)
    assert not second.has_failed()
    second.set_closed("the data set is broken", do_not_restart=True)
    second.set_closed("an ordinary close changes nothing")
    with pytest.raises(RendezvousFailedError, match="not to be restarted: 'the data set is brok"):
        waiting.result()
    with pytest.raises(RendezvousFailedError, match="the data set is broken"):
        _node(run, 3, 2).next_rendezvous()
    assert first.has_failed()
    assert first.close_reason() == "the data set is broken"
    # A later start of the job has nothing to do with it.
    later = [_node(run, number, 2, attempt=1) for number in (4, 5)]
    assert {info.world_size for info in join_all(later)} == {2}
    assert not later[0].has_failed()
    assert not later[0].is_closed()


def test_a_node_that_gives_up_may_end_the_run_for_all(run: Run) -> None:
    """Although enough nodes are left; with its exit code and its last line as the reason."""
    nodes = [_node(run, number, 1, 3, last_call_s=3600.0) for number in (1, 2, 3)]
    join_all(nodes)
    nodes[0].give_up(3, "no such file", do_not_restart=True)
    eventually("the others hear of it", lambda: all(node.is_closed() for node in nodes[1:]))
    for node in nodes[1:]:
        with pytest.raises(RendezvousFailedError, match=r"exit code 3, its last line:.*no such f"):
            node.next_rendezvous()


@pytest.mark.parametrize("rulebook", ["server", "store", "etcd"])
def test_a_closed_run_does_not_poison_a_later_one_with_its_name(
    request: pytest.FixtureRequest, rulebook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its time to live is over: a limit of the server's for runs without nodes, a day where
    nodes keep it, the lease over etcd.
    """
    with ExitStack() as stack:
        run: Run
        options: dict[str, Any] = {}
        if rulebook == "server":
            server = stack.enter_context(Server(limits={"idle_run_ms": 100}))
            run = Run(lambda: TCPStore("127.0.0.1", server.port, timeout=60), "server")
        elif rulebook == "store":
            run = stack.enter_context(stored_run())
        else:
            run = EtcdRun(request.getfixturevalue("etcd_endpoint"))
            options["backend"] = EtcdRendezvousBackend(run.etcd(), RUN, run.prefix, 2)
        stack.callback(run.shutdown)

        old = run.nodes(2, 2, **options)
        join_all(old)
        old[0].set_closed("broken", do_not_restart=True)
        with pytest.raises(RendezvousFailedError, match="broken"):
            run.node(2, **options).next_rendezvous()
        for node in run.handlers:
            node.shutdown()

        if rulebook == "server":
            eventually("the run is forgotten", lambda: run.look().round == 0)
        elif isinstance(run, EtcdRun):
            keys = RunKeys(run.prefix, RUN).everything
            eventually("its lease is over", lambda: not run.etcd().range(*keys).kvs)
        else:
            with pytest.raises(RendezvousFailedError, match="broken"):
                run.node(2).next_rendezvous()
            now_ns = time.time_ns
            monkeypatch.setattr(
                "rendezvous._coordination.by_state.join.time_ns",
                lambda: now_ns() + 25 * 3600 * 1_000_000_000,
            )
        later = run.nodes(2, 2, **options)
        assert {info.world_size for info in join_all(later)} == {2}
        assert not later[0].has_failed()


def test_a_later_attempt_displaces_what_is_left_of_an_earlier_one(run: Run) -> None:
    """The old nodes are told at once, and refused when they come back."""
    old = [_node(run, number, 2) for number in (1, 2)]
    join_all(old)
    new = [_node(run, number, 2, attempt=1) for number in (3, 4)]
    infos = join_all(new)
    assert {info.round for info in infos} == {2}
    eventually("a change", lambda: all(node.num_nodes_waiting() > 0 for node in old))
    with pytest.raises(RendezvousStateError, match="the run is at attempt 1, and this node is"):
        old[0].next_rendezvous()


def test_newcomers_are_told_when_the_debounce_is_over(run: Run) -> None:
    """However the node learns of them."""
    member = _node(run, 1, 1, 3, debounce=0.2)
    member.next_rendezvous()
    assert member.num_nodes_waiting() == 0
    joining(_node(run, 2, 1, 3, debounce=0.2))
    eventually("the newcomer is told", lambda: member.num_nodes_waiting() == 1)
    member.leave()


def test_a_timeout_names_the_expected_node_that_is_missing(run: Run) -> None:
    """And how far it got, as far as the run's keeper can tell."""
    expect = ["127.0.0.1", "127.0.0.2", "198.51.100.7"]
    first = joining(
        run.node(3, join_s=1.0, local_addr="127.0.0.1", rules=RendezvousRules(expect=expect))
    )
    second = joining(run.node(3, join_s=60.0, local_addr="127.0.0.2"))
    with pytest.raises(RendezvousTimeoutError) as caught:
        first.result()
    assert caught.value.missing[-1] == "198.51.100.7"
    how = "never connected"
    if run.rulebook != "server":
        how = "did not join"
    assert f"198.51.100.7 ({how})" in str(caught.value)
    for handler in run.handlers:
        handler.shutdown()
    with pytest.raises(Exception):  # noqa: B017, PT011
        second.result()
