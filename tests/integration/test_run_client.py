"""RunClient: a node's line to a run that the server keeps, and its deadlines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.background import Background, eventually
from support.proxy import FaultProxy

from rendezvous import (
    RendezvousClosedError,
    RendezvousStateError,
    Server,
    StoreClosedError,
    StoreConnectionError,
    StoreRestartedError,
    StoreTimeoutError,
    StoreUnsupportedError,
    StoreValueError,
    TCPStore,
)
from rendezvous._core import GroupSettings, Node, RunClient

RULES = GroupSettings(2, 2, 3600.0, 3600.0, 3)
Connect = Callable[..., TCPStore]


def member(store: TCPStore, number: int, rules: GroupSettings = RULES) -> RunClient:
    return RunClient(store, "run", Node(f"host{number}", number, 0), rules, grace=3600.0)


def test_two_nodes_join_and_see_each_other(connect: Connect) -> None:
    """Each gets its rank, and where rank 0 is, with one answer; a leave is news for the other."""
    store = connect()
    first, second = member(store, 1), member(store, 2)
    waiting = Background(second.join, 0, 60)
    mine, other = first.join(0, 60), waiting.result()
    assert (mine.outcome, mine.rank, mine.round, mine.world_size) == ("placed", 0, 1, 2)
    assert (other.outcome, other.rank, other.first) == ("placed", 1, Node("host1", 1, 0))
    assert first.keep_alive(60).known
    assert ranks(first) == [(0, Node("host1", 1, 0)), (1, Node("host2", 2, 0))]
    assert ranks(first, 1) == [(0, Node("host1", 1, 0))]
    news = Background(first.subscribe, 1, 0, False, 60)
    assert second.leave(True, 60)
    assert (news.result().active, news.result().changes) == (True, 1)
    assert first.status(60).lost == 1


def test_an_onlooker_follows_the_run(connect: Connect) -> None:
    """It is told when somebody comes or goes, and who went, and how; at its timeout what is."""
    store = connect()
    first, second, onlooker = (member(store, number) for number in range(1, 4))
    version, status, gone = onlooker.follow(2**64 - 1, 60)
    assert (version, status.known, gone) == (0, False, [])
    following = Background(onlooker.follow, version, 60)
    waiting = Background(second.join, 0, 60)
    version, status, gone = following.result()
    assert (status.known, status.participants, gone) == (True, 1, [])
    assert onlooker.follow(version, 0)[0] == version
    first.join(0, 60)
    waiting.result()
    version = onlooker.follow(version, 60)[0]
    following = Background(onlooker.follow, version, 60)
    assert second.leave(True, 60)
    later, status, gone = following.result()
    assert later != version
    assert (status.lost, gone) == (1, [(Node("host2", 2, 0), "failed")])


def ranks(onlooker: RunClient, limit: int | None = None) -> list[tuple[int, Node]]:
    members = onlooker.members("participants", 60, limit)
    return [(rank, node) for rank, node, _ in members]


def test_an_onlooker_sees_who_was_heard_last(connect: Connect) -> None:
    """Of each node that is watched; a lost one is not."""
    store = connect()
    first, second, onlooker = (member(store, number) for number in range(1, 4))
    waiting = Background(first.join, 0, 60)
    eventually("it has joined", lambda: onlooker.status(60).participants == 1)
    second.join(0, 60)
    waiting.result()
    eventually("a moment", lambda: heard_ago_s(onlooker)["host1"] > 0)
    assert heard_ago_s(onlooker)["host1"] >= heard_ago_s(onlooker)["host2"]
    first.keep_alive(60)
    silent = heard_ago_s(onlooker)
    assert silent["host1"] <= silent["host2"]
    assert first.leave(True, 60)
    assert [silent_s for _, _, silent_s in onlooker.members("lost", 60)] == [None]


def heard_ago_s(onlooker: RunClient) -> dict[str, float]:
    members = onlooker.members("participants", 60)
    return {node.addr: silent_s for _, node, silent_s in members if silent_s is not None}


def test_an_onlooker_sees_settings_and_ranks(connect: Connect) -> None:
    """Without being listed; ranks are those that were given, also when rank 0 is gone."""
    store = connect()
    first, second, onlooker = (member(store, number) for number in range(1, 4))
    assert (onlooker.status(60).known, onlooker.status(60).settings) == (False, None)
    assert ranks(onlooker) == []
    waiting = Background(second.join, 0, 60)
    eventually("it has joined", lambda: onlooker.status(60).participants == 1)
    assert onlooker.status(60).settings == RULES
    assert ranks(onlooker) == [(-1, Node("host2", 2, 0))]
    first.join(0, 60)
    waiting.result()
    assert ranks(onlooker) == [(0, Node("host1", 1, 0)), (1, Node("host2", 2, 0))]
    assert ranks(onlooker, 1) == [(0, Node("host1", 1, 0))]
    assert first.leave(True, 60)
    assert ranks(onlooker) == [(1, Node("host2", 2, 0))]
    assert onlooker.status(60).role == "absent"


def test_a_join_that_is_alone_ends_with_the_servers_word(connect: Connect) -> None:
    """It was answered, in time, and the node is listed no more."""
    client = member(connect(), 1)
    assert client.join(0, 0.05).outcome == "timeout"
    assert client.status(60).participants == 0


@pytest.mark.parametrize("call", ["join", "subscribe", "keep_alive", "status", "leave", "resume"])
def test_a_frozen_server_does_not_hold_a_call_past_its_timeout(
    connect: Connect, proxy: FaultProxy, call: str
) -> None:
    """All raise; none returns what it does not know."""
    client = member(connect(proxy.port), 1)
    client.keep_alive(60)
    calls: dict[str, Callable[[], object]] = {
        "join": lambda: client.join(0, 0.05),
        "subscribe": lambda: client.subscribe(1, 0, False, 0.05),
        "keep_alive": lambda: client.keep_alive(0.05),
        "status": lambda: client.status(0.05),
        "leave": lambda: client.leave(False, 0.05),
        "resume": lambda: client.resume(1, 0, 2, 0.05),
    }
    proxy.freeze()
    with pytest.raises(StoreTimeoutError, match="of run 'run' on TCPStore"):
        Background(calls[call]).result()
    proxy.thaw()
    client.keep_alive(60)


def test_who_waits_is_told_that_the_connection_broke(connect: Connect, proxy: FaultProxy) -> None:
    """A node that had a place may have to take it again before it asks for the next."""
    client = member(connect(proxy.port), 1)
    waiting = Background(client.join, 0, 60)
    eventually("the join", lambda: client.status(60).participants == 1)
    proxy.cut()
    with pytest.raises(StoreConnectionError, match="connection was lost"):
        waiting.result()
    assert not client.keep_alive(60).known


def test_a_restarted_server_is_said_once_and_takes_the_round_over(
    connect: Connect, proxy: FaultProxy
) -> None:
    """The first node to come puts the round back; the other ranks are kept for theirs."""
    rules = GroupSettings(1, 1, 3600.0, 3600.0, 3)
    client = member(connect(proxy.port), 1, rules)
    assert client.join(6, 60).round == 7
    with Server() as other:
        proxy.target_port = other.port
        proxy.cut()
        with pytest.raises(StoreRestartedError):
            client.keep_alive(60)
        assert not client.keep_alive(60).known
        assert client.resume(7, 0, 1, 60).taken
        assert (client.status(60).round, client.status(60).role) == (7, "active")
        client.close()


def test_closed_runs_other_settings_and_closed_clients(connect: Connect) -> None:
    """Each says what it is."""
    store = connect()
    client = member(store, 1)
    waiting = Background(client.join, 0, 60)
    eventually("the join", lambda: client.status(60).participants == 1)
    with pytest.raises(RendezvousStateError, match="max_nodes"):
        member(store, 2, GroupSettings(2, 3, 3600.0, 3600.0, 3)).join(0, 60)
    client.close_run(60)
    with pytest.raises(RendezvousClosedError):
        waiting.result()
    client.close()
    with pytest.raises(StoreClosedError):
        client.status(60)


def test_what_cannot_be_a_client_is_refused(connect: Connect) -> None:
    """Before anything is sent."""
    with pytest.raises(StoreUnsupportedError, match="c10d"):
        member(connect(protocol="c10d"), 1)
    with pytest.raises(StoreValueError, match="run id"):
        RunClient(connect(), "x" * 2000, Node("a", 1, 1), RULES, grace=1)
