"""The handler when all is well: rounds form, grow, shrink and end, over every store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from handler_support import (
    LOOPBACK,
    RUN,
    EtcdRun,
    ForeignStore,
    Run,
    changes,
    further_heartbeats,
    join_all,
    joining,
)
from support.background import eventually

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    FileStore,
    HashStore,
    PrefixStore,
    RendezvousClosedError,
    RendezvousFinishedError,
    RendezvousParameters,
    RendezvousStateError,
    TCPStore,
    _core,
    get_rendezvous_handler,
)


@pytest.fixture(params=["hash", "file", "tcp", "server", "etcd"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    if request.param == "hash":
        store = HashStore()
        run = Run(lambda: store)
    elif request.param == "file":
        run = Run(lambda: FileStore(tmp_path / "store"))
    elif request.param == "etcd":
        run = EtcdRun(request.getfixturevalue("etcd_endpoint"))
    else:
        # Asked for now, so that the server outlives the handlers.
        request.getfixturevalue("server")
        connect: Callable[[], TCPStore] = request.getfixturevalue("connect")
        run = Run(connect, "server" if request.param == "server" else "store")
    yield run
    run.shutdown()


@pytest.mark.parametrize("count", [1, 2, 4, 8, 32])
def test_nodes_that_join_together_form_a_round(run: Run, count: int) -> None:
    """Each gets a rank of its own, and all the same world, round, key space and bootstrap store."""
    infos = join_all(run.nodes(count, count))
    assert sorted(info.rank for info in infos) == list(range(count))
    assert {(info.world_size, info.round) for info in infos} == {(count, 1)}
    assert len({info.bootstrap_store_info for info in infos}) == 1
    for info in infos:
        info.store.add("met", 1)
    assert infos[0].store.add("met", 0) == count


def test_ranks_follow_the_natural_order_of_addresses(run: Run) -> None:
    """host2 comes before host10."""
    handlers = [run.node(3, local_addr=f"host{number}.invalid") for number in (10, 2, 1)]
    assert [info.rank for info in join_all(handlers)] == [2, 1, 0]


def test_a_round_with_all_nodes_does_not_wait_for_more(run: Run) -> None:
    """A node that comes in the last call completes the round: nobody sits the call out."""
    first = [joining(handler) for handler in run.nodes(2, 2, 3, last_call_s=3600)]
    eventually("a last call", lambda: run.look().last_call_left is not None)
    assert all(each.running for each in first)
    last = joining(run.node(2, 3, last_call_s=3600))
    assert {each.result().world_size for each in [*first, last]} == {3}


def test_the_last_call_ends(run: Run) -> None:
    """Enough nodes are enough, after a while."""
    infos = join_all(run.nodes(2, 1, 4, last_call_s=0.3))
    assert {info.world_size for info in infos} in ({2}, {1})


def test_a_late_joiner_waits_and_is_counted_and_the_next_round_has_it(run: Run) -> None:
    """The agents of the running round see it and ask for a new one."""
    early = run.nodes(2, 2, 4)
    join_all(early)
    assert [handler.num_nodes_waiting() for handler in early] == [0, 0]
    late = joining(run.node(2, 4))
    for handler in early:
        changes(handler, 1)
    assert late.running
    infos = [*join_all(early), late.result()]
    assert sorted(info.rank for info in infos) == [0, 1, 2]
    assert {info.round for info in infos} == {2}
    eventually("calm", lambda: all(handler.num_nodes_waiting() == 0 for handler in early))


def test_a_node_that_asks_for_the_next_round_is_seen_by_the_others(run: Run) -> None:
    """Its workers failed, say: all start again together, and nothing of the old round is left."""
    handlers = run.nodes(2, 2)
    first = join_all(handlers)
    first[0].store.set("left behind", "1")
    again = joining(handlers[0])
    changes(handlers[1], 1)
    second = [handlers[1].next_rendezvous(), again.result()]
    assert {(info.round, info.world_size) for info in second} == {(2, 2)}
    assert not any(info.store.check(["left behind"]) for info in second)
    assert not first[1].store.check(["left behind"])


def test_a_spare_waits_without_disturbing_and_steps_in_for_a_node_that_failed(run: Run) -> None:
    """Only when a place is free is it counted."""
    handlers = run.nodes(2, 2)
    join_all(handlers)
    spare = joining(run.node(2))
    eventually("a spare", lambda: len(run.look().spares) == 1)
    assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0]
    handlers[1].leave(failed=True)
    eventually("told", lambda: handlers[0].num_nodes_waiting() > 0)
    infos = [handlers[0].next_rendezvous(), spare.result()]
    assert {(info.round, info.world_size) for info in infos} == {(2, 2)}


@pytest.mark.parametrize("part", ["spare", "late joiner"])
def test_who_waits_for_a_job_that_finishes_is_told(run: Run, part: str) -> None:
    """It must neither wait for ever nor start the job anew."""
    room = 2 if part == "spare" else 3
    handlers = run.nodes(2, 2, room)
    join_all(handlers)
    waiting = joining(run.node(2, room))
    eventually("waiting", lambda: len([*run.look().spares, *run.look().waiting]) == 1)
    for handler in handlers:
        handler.leave()
    as_what = f" as a {part}" if run.rulebook == "store" else ""
    with pytest.raises(
        RendezvousFinishedError, match=rf"finished \(round 1\) while this node waited{as_what}"
    ):
        waiting.result()


def test_a_node_that_is_done_does_not_disturb_the_others(run: Run) -> None:
    """Nodes of a job end one after the other."""
    handlers = run.nodes(2, 2)
    join_all(handlers)
    assert handlers[0].shutdown()
    further_heartbeats(handlers[1])
    assert handlers[1].num_nodes_waiting() == 0
    assert not handlers[1].is_closed()


def test_a_node_that_left_can_come_back(run: Run) -> None:
    """The handler lives on after `leave`."""
    handler = run.node(1)
    assert handler.next_rendezvous().round == 1
    handler.leave()
    assert handler.next_rendezvous().round == 2


def test_closing_ends_the_run_for_all_who_wait_or_come(run: Run) -> None:
    """A round that is complete goes on; its nodes see that the run is closed."""
    handlers = run.nodes(2, 2)
    join_all(handlers)
    spare = joining(run.node(2))
    eventually("a spare", lambda: len(run.look().spares) == 1)
    assert not handlers[1].is_closed()
    handlers[0].set_closed()
    assert handlers[0].is_closed()
    eventually("the other to see it", handlers[1].is_closed)
    assert handlers[1].num_nodes_waiting() == 0
    for act in (spare.result, handlers[1].next_rendezvous, run.node(2).next_rendezvous):
        with pytest.raises(RendezvousClosedError, match="closed"):
            act()
    assert run.node(2).is_closed()


def test_rank_0_serves_a_store_for_the_workers_of_each_round(run: Run) -> None:
    """A new round has a new server, and the old one is gone with its keys."""
    handlers = run.nodes(2, 2)
    ports = set()
    for _ in range(2):
        infos = join_all(handlers)
        where = infos[0].bootstrap_store_info
        assert where.master_addr == LOOPBACK
        for others in range(2):
            client = TCPStore(where.master_addr, where.master_port, timeout=60)
            assert client.num_keys() == others
            client.set(f"worker of {others}", "")
            client.close()
        assert all(handler.use_agent_store for handler in handlers)
        ports.add(where.master_port)
    assert len(ports) == 2
    for handler in handlers:
        handler.shutdown()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port))


def test_without_bootstrap_store_the_published_port_is_free(run: Run) -> None:
    """The workers' rank 0 binds it."""
    handlers = run.nodes(2, 2, bootstrap_store=False)
    where = join_all(handlers)[1].bootstrap_store_info
    assert not any(handler.use_agent_store for handler in handlers)
    with socket.create_server((where.master_addr, where.master_port)):
        pass


def test_waiting_until_alone(run: Run) -> None:
    """The host of the store stays for those who need it."""
    host, other = run.nodes(2, 2)
    join_all([host, other])
    assert not host.wait_until_alone(0)
    host.leave()
    assert not host.wait_until_alone(0.1)
    other.leave()
    assert host.wait_until_alone(60)


def test_shutdown_leaves_no_thread_and_may_be_repeated(run: Run) -> None:
    """And a handler that was shut down says so."""
    before = set(threading.enumerate())
    handlers = run.nodes(4, 4)
    join_all(handlers)
    assert sum("heartbeat" in thread.name for thread in threading.enumerate()) == 4
    assert all(handler.shutdown() for handler in handlers)
    assert all(handler.shutdown() for handler in handlers)
    left = [thread for thread in set(threading.enumerate()) - before if "log" not in thread.name]
    assert left == []
    assert run.look().finished_round == 1
    for act in (handlers[0].next_rendezvous, handlers[0].set_closed, handlers[0].leave):
        with pytest.raises(RendezvousStateError, match="was shut down"):
            act()
    assert handlers[0].num_nodes_waiting() == 0


def test_a_handler_that_never_joined_is_shut_down_without_a_word(run: Run) -> None:
    """Nothing is written for a node that took no part."""
    handler = run.node(1)
    assert handler.shutdown()
    assert C10dRendezvousBackend(run.new_store(), RUN).get_state() is None


def test_a_forked_child_has_no_part_in_the_rendezvous(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy of the handler neither joins nor takes the parent's place away."""
    handler = run.node(1)
    handler.next_rendezvous()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        with pytest.raises(RendezvousStateError, match="a forked child must create its own"):
            handler.next_rendezvous()
        assert handler.shutdown()
    assert len(run.look().participants) == 1


def test_a_store_that_is_not_ours_will_do() -> None:
    """Torch's stores have the methods, but not the base class."""
    store = ForeignStore()
    handlers = [
        DynamicRendezvousHandler.from_backend(
            RUN, store, C10dRendezvousBackend(store, RUN), 2, 2, LOOPBACK
        )
        for _ in range(2)
    ]
    try:
        infos = join_all(handlers)
        for info in infos:
            info.store.multi_set([f"k{info.rank}"], ["v"])
            info.store.set_timeout(timedelta(seconds=50))
        infos[0].store.wait(["k0", "k1"], timedelta(seconds=60))
        assert infos[1].store.multi_get(["k0", "k1"]) == [b"v", b"v"]
        assert infos[1].store.timeout == store.timeout == timedelta(seconds=50)
        assert not store.check(["k0"])
        assert handlers[0].store_endpoint == "ForeignStore"
    finally:
        for handler in handlers:
            handler.shutdown()


@pytest.mark.parametrize(
    ("protocol", "prefix", "rulebook", "kept_by"),
    [
        ("native", None, "auto", "ServerRun"),
        ("native", None, "server", "ServerRun"),
        ("native", None, "store", "StoreRun"),
        ("native", "job", "auto", "StoreRun"),
        ("c10d", None, "auto", "StoreRun"),
    ],
)
def test_who_runs_the_rulebook(
    connect: Callable[..., TCPStore],
    protocol: str,
    prefix: str | None,
    rulebook: str,
    kept_by: str,
) -> None:
    """The server where the store is its client, and nothing stands between them."""
    client = connect(protocol=protocol)
    store = client if prefix is None else PrefixStore(prefix, client)
    handler = DynamicRendezvousHandler.from_backend(
        RUN, store, C10dRendezvousBackend(store, RUN), 1, 1, LOOPBACK, rulebook=rulebook
    )
    assert type(handler._coordinator).__name__ == kept_by
    assert handler.next_rendezvous().world_size == 1
    assert handler.shutdown()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"run_id": ""}, "run id is empty"),
        ({"min_nodes": 0}, "min_nodes"),
        ({"min_nodes": 3}, "max_nodes"),
        ({"keep_alive_interval": 0}, "keep_alive_interval"),
        ({"keep_alive_max_attempt": 0}, "keep_alive_max_attempt"),
        ({"local_addr": "a\nb"}, "addr"),
        ({"rulebook": "host"}, "use 'auto', 'server', 'store'"),
        ({"rulebook": "server"}, "does not use a rendezvous server"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, object], what: str) -> None:
    """Before anybody is told of the node."""
    store = HashStore()
    arguments: dict[str, object] = {
        "run_id": RUN,
        "store": store,
        "backend": C10dRendezvousBackend(store, RUN),
        "min_nodes": 1,
        "max_nodes": 2,
        "local_addr": LOOPBACK,
        **change,
    }
    with pytest.raises(ValueError, match=what):
        DynamicRendezvousHandler.from_backend(**arguments)  # type: ignore[arg-type]


def test_a_launcher_needs_parameters_and_one_call() -> None:
    """The first serves the store, the second finds it there; both know where it is."""

    def handler(endpoint: str) -> DynamicRendezvousHandler:
        params = RendezvousParameters(
            "c10d", endpoint, RUN, 2, 2, last_call_timeout="1", join_timeout="60"
        )
        made = get_rendezvous_handler(params)
        assert isinstance(made, DynamicRendezvousHandler)
        return made

    host = handler("localhost:0")
    other = handler(host.store_endpoint)
    assert (host.hosts_store, other.hosts_store) == (True, False)
    assert host.node.addr == "localhost"
    assert isinstance(host.node, _core.Node)
    infos = join_all([host, other])
    assert {info.bootstrap_store_info.master_addr for info in infos} == {
        min(host.node, other.node).addr
    }
    assert other.shutdown()
    assert host.wait_until_alone(60)
    assert host.shutdown()
