"""Rules that torch elastic does not have, in each way of keeping a run.

By the store's server, by the nodes, and by a leader over etcd.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from handler_support import EtcdRun, Run, join_all, joining, run_kept_by
from support.background import eventually

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousClosedError,
    RendezvousRules,
    RendezvousStateError,
    RendezvousTimeoutError,
)


@pytest.fixture(params=["server", "store", "etcd"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    if request.param == "etcd":
        over_etcd = EtcdRun(request.getfixturevalue("etcd_endpoint"))
        yield over_etcd
        over_etcd.shutdown()
        return
    with run_kept_by(request.param, request) as run:
        yield run


def _node(run: Run, number: int, *nodes: int, **rules: Any) -> DynamicRendezvousHandler:
    """Of an address of its own on this machine."""
    made = RendezvousRules(**{"debounce": 0.0, **rules})
    return run.node(*nodes, local_addr=f"127.0.0.{number}", rules=made)


def _numbers(handlers: list[DynamicRendezvousHandler]) -> dict[int, int]:
    """The rank of each node's number, in a round of all of them."""
    infos = join_all(handlers)
    numbers = [int(handler.node.addr.rpartition(".")[2]) for handler in handlers]
    return {info.rank: number for info, number in zip(infos, numbers, strict=True)}


def test_who_replaces_a_node_takes_its_rank_and_the_others_keep_theirs(run: Run) -> None:
    """The natural order of addresses decides in the first round only."""
    a, b, d = (_node(run, number, 2, 3) for number in (1, 2, 4))
    assert _numbers([a, b, d]) == {0: 1, 1: 2, 2: 4}
    a.leave(failed=True)
    c = _node(run, 3, 2, 3)
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
    with pytest.raises(RendezvousStateError, match=r"given rank 1 is that of node 127\.0\.0\.1:"):
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
    how = "never connected" if run.rulebook == "server" else "did not join"
    assert f"198.51.100.7 ({how})" in str(caught.value)
    for handler in run.handlers:
        handler.shutdown()
    with pytest.raises(Exception):  # noqa: B017, PT011
        second.result()
