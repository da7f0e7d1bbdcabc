"""Ranks that are given: StaticRendezvousHandler and the backend `static`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.background import Background

from rendezvous import (
    RendezvousConnectionError,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStateError,
    RendezvousTimeoutError,
    Server,
    StaticRendezvousHandler,
    TCPStore,
    get_rendezvous_handler,
)

LOOPBACK = "127.0.0.1"
RUN = "run-7"

Make = Callable[..., StaticRendezvousHandler]


@pytest.fixture
def make(free_port: int) -> Iterator[Make]:
    """Handlers at one endpoint; they end in the order in which they were made, the host first."""
    made: list[StaticRendezvousHandler] = []

    def node(
        rank: int, world_size: int, port: int = free_port, run_id: str = RUN, **config: Any
    ) -> StaticRendezvousHandler:
        settings = {"rank": str(rank), "timeout": 60, **config}
        parameters = RendezvousParameters(
            "static", f"{LOOPBACK}:{port}", run_id, 1, world_size, **settings
        )
        handler = get_rendezvous_handler(parameters)
        assert isinstance(handler, StaticRendezvousHandler)
        made.append(handler)
        return handler

    yield node
    leaving = [Background(handler.shutdown) for handler in made]
    for each in leaving:
        each.result()


def meet(handlers: list[StaticRendezvousHandler]) -> list[RendezvousInfo]:
    coming = [Background(handler.next_rendezvous) for handler in handlers]
    return [each.result() for each in coming]


def test_nodes_have_the_ranks_that_they_were_given(make: Make, free_port: int) -> None:
    """Rank 0's node serves the store, and the workers' store is that."""
    infos = meet([make(rank, 3) for rank in (2, 0, 1)])
    assert [info.rank for info in infos] == [2, 0, 1]
    assert {info.world_size for info in infos} == {3}
    where = {info.bootstrap_store_info for info in infos}
    assert {(each.master_addr, each.master_port) for each in where} == {(LOOPBACK, free_port)}
    infos[0].store.set("k", "v")
    assert infos[1].store.get("k") == b"v"
    with TCPStore(LOOPBACK, free_port) as worker:
        assert worker.check(["k"]) is False


def test_each_round_has_a_key_space_of_its_own(make: Make) -> None:
    """The second call of each node meets the second of the others."""
    handlers = [make(rank, 2) for rank in range(2)]
    first, second = meet(handlers), meet(handlers)
    assert [info.round for info in (*first, *second)] == [1, 1, 2, 2]
    first[0].store.set("left behind", "1")
    assert not second[1].store.check(["left behind"])


def test_a_server_that_is_there_is_used_and_workers_meet_elsewhere(
    make: Make, server: Server
) -> None:
    """As `rendezvous serve` at the port: it outlives the job, and what its workers write too."""
    handlers = [make(rank, 2, server.port) for rank in range(2)]
    infos = meet(handlers)
    assert not handlers[0].hosts_store
    (where,) = {info.bootstrap_store_info for info in infos}
    assert where.master_port != server.port
    with TCPStore(where.master_addr, where.master_port) as worker:
        worker.set("k", "v")
    (again,) = {info.bootstrap_store_info for info in meet(handlers)}
    with TCPStore(again.master_addr, again.master_port) as worker:
        assert not worker.check(["k"])


def test_who_serves_on_every_interface_tells_the_others_an_address(
    make: Make, free_port: int
) -> None:
    """Not the one that leads each of them to itself."""
    host = StaticRendezvousHandler("0.0.0.0", free_port, 0, 2, RUN, 60, local_addr=LOOPBACK)
    other = make(1, 2)
    infos = meet([host, other])
    assert [info.bootstrap_store_info.master_addr for info in infos] == [LOOPBACK] * 2
    leaving = Background(host.shutdown)
    assert other.shutdown()
    assert leaving.result()


def test_a_timeout_names_the_ranks_that_are_missing(make: Make) -> None:
    """The one that came is named as well."""
    with pytest.raises(RendezvousTimeoutError, match=r"missing: rank 1, 2\. ") as caught:
        make(0, 3, timeout=0.3).next_rendezvous()
    assert caught.value.joined == ["rank 0"]
    assert caught.value.max_nodes == 3


def test_who_timed_out_may_come_again(make: Make) -> None:
    """To the same round."""
    first = make(0, 2, timeout=0.2)
    with pytest.raises(RendezvousTimeoutError):
        first.next_rendezvous()
    second = Background(make(1, 2).next_rendezvous)
    while True:
        try:
            info = first.next_rendezvous()
        except RendezvousTimeoutError:
            continue
        break
    assert (info.round, second.result().round) == (1, 1)


def test_a_rank_that_two_nodes_have_is_an_error(make: Make) -> None:
    """Named by one of them; neither takes the other's place in silence."""
    twins = [Background(make(1, 2).next_rendezvous) for _ in range(2)]
    Background(make(0, 2).next_rendezvous)
    ends: list[str] = []
    for each in twins:
        try:
            each.result()
            ends.append("met")
        except RendezvousStateError as error:
            ends.append(str(error))
    (refused,) = [end for end in ends if end != "met"]
    assert "two nodes have rank 1" in refused or "do not match" in refused


def test_another_number_of_nodes_is_an_error(make: Make) -> None:
    """Whoever comes second is told."""
    meet([make(rank, 2) for rank in range(2)])
    with pytest.raises(RendezvousStateError, match="different numbers of nodes"):
        make(1, 3).next_rendezvous()


def test_a_run_id_that_is_used_again_is_an_error_on_a_store_that_outlived_its_job(
    make: Make, server: Server
) -> None:
    """And not a round with the nodes of the job before; another run id is as good as new."""
    handlers = [make(rank, 2, server.port) for rank in range(2)]
    meet(handlers)
    with pytest.raises(RendezvousStateError, match="new run id"):
        make(1, 2, server.port).next_rendezvous()
    assert len(meet([make(rank, 2, server.port, "run-8") for rank in range(2)])) == 2
    # When all have left, nothing is there any more.
    assert all(handler.shutdown() for handler in handlers)
    assert len(meet([make(rank, 2, server.port) for rank in range(2)])) == 2


def test_who_serves_the_store_stays_until_the_others_have_left(make: Make) -> None:
    """It is needed to the end."""
    host, other = make(0, 2), make(1, 2)
    meet([host, other])
    leaving = Background(host.shutdown).let_block()
    assert leaving.running
    assert other.shutdown()
    assert leaving.result()
    assert host.shutdown()
    with pytest.raises(RendezvousStateError, match="shut down"):
        host.next_rendezvous()


def test_who_serves_the_store_does_not_wait_for_ever(make: Make) -> None:
    """A node that died does not leave; and who leaves after the host has gone waits for nobody."""
    host, other = make(0, 2, close_timeout=0.2), make(1, 2, close_timeout=3600)
    meet([host, other])
    assert host.shutdown() is False
    assert Background(other.shutdown).result() is False


def test_a_store_that_nobody_serves_is_an_error(make: Make) -> None:
    """Within the timeout, which counts from the start."""
    with pytest.raises(RendezvousConnectionError, match="cannot connect"):
        make(1, 2, timeout=0.3).next_rendezvous()


def test_it_never_asks_for_a_new_round_and_is_not_closed(make: Make) -> None:
    """As torch's."""
    handler = make(0, 1)
    handler.set_closed()
    assert meet([handler])[0].world_size == 1
    assert (handler.is_closed(), handler.num_nodes_waiting()) == (False, 0)
    assert (handler.get_backend(), handler.get_run_id()) == ("static", RUN)
    assert handler.use_agent_store


@pytest.mark.parametrize(
    ("endpoint", "config", "message"),
    [
        (f"{LOOPBACK}:1", {}, "rank=N"),
        ("", {"rank": 0}, "needs an endpoint"),
        ("node0", {"rank": 0}, "has no port"),
        ("node0:0", {"rank": 0}, "has no port"),
        ("0.0.0.0:1", {"rank": 0}, "use the machine of rank 0"),
        ("[::]:1", {"rank": 1}, "use the machine of rank 0"),
        ("node0:1", {"rank": 2}, "from 0 to 1"),
        ("node0:1", {"rank": -1}, "from 0 to 1"),
        ("node0:1", {"rank": "first"}, "whole number"),
        ("node0:1", {"rank": 0, "timeout": 0}, "positive"),
    ],
)
def test_parameters_that_make_no_sense(endpoint: str, config: dict[str, Any], message: str) -> None:
    """ValueErrors that say what to give, before anything is opened."""
    with pytest.raises(ValueError, match=message):
        get_rendezvous_handler(RendezvousParameters("static", endpoint, RUN, 1, 2, **config))
