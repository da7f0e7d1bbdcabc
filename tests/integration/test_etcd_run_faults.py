"""What an etcd that fails does to the rendezvous of a run, kept in either way. Real processes.

Members that are killed and wait for a majority, under `rendezvous exec`: test_cli_exec_etcd.py.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from handler_support import DYING, RUN, EtcdRun, changes, die, join_all, joining
from support.background import BACKSTOP_S, eventually
from support.etcd import NO_ETCD, PASSWORD, USER, Cluster, binaries, etcd_proxy

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousConnectionError,
    RendezvousInfo,
    StoreLimitError,
    StoreTimeoutError,
    _core,
)
from rendezvous.backends.etcd.run.keys import RunKeys, node_name
from rendezvous.backends.etcd.transport.errors import EtcdConnectionError

RULEBOOKS = ["auto", "store"]


@pytest.fixture
def binary() -> str:
    if not binaries():
        pytest.skip(NO_ETCD)
    return binaries()[-1]


@pytest.fixture(params=RULEBOOKS)
def rulebook(request: pytest.FixtureRequest) -> str:
    """A key for each node, which one of them leads, or one state that all replace."""
    return str(request.param)


@contextmanager
def run_at(endpoints: str, prefix: str = "jobs/", **login: Any) -> Iterator[EtcdRun]:
    run = EtcdRun(endpoints, prefix, **login)
    try:
        yield run
    finally:
        run.shutdown()


def met(handlers: list[DynamicRendezvousHandler], nodes: int) -> list[RendezvousInfo]:
    """What each got of a round of so many, in which every rank is there once."""
    infos = join_all(handlers)
    assert sorted(info.rank for info in infos) == list(range(nodes))
    assert {info.world_size for info in infos} == {nodes}
    return infos


def test_etcds_leader_hangs(binary: str, rulebook: str) -> None:
    """Stopped, it keeps its connections: a node is lost and another joins all the same."""
    with Cluster(binary, 3) as cluster, run_at(cluster.endpoints) as run:
        handlers = run.nodes(3, 3, rulebook=rulebook, **DYING)
        before = met(handlers, 3)[0].round
        leader = cluster.leader()
        leader.pause()
        try:
            die(handlers.pop())
            newcomer = joining(run.node(3, rulebook=rulebook, **DYING))
            eventually("a change", lambda: all(each.num_nodes_waiting() for each in handlers))
            calls = [newcomer, *map(joining, handlers)]
            infos = [call.result() for call in calls]
        finally:
            leader.resume()
        assert sorted(info.rank for info in infos) == [0, 1, 2]
        assert min(info.round for info in infos) > before


def test_the_majority_is_lost_and_comes_back(binary: str, rulebook: str) -> None:
    """A node that waits for others meanwhile goes on waiting, and meets them afterwards."""
    with Cluster(binary, 3) as cluster, run_at(cluster.endpoints) as run:
        first = joining(run.node(2, rulebook=rulebook, join_s=BACKSTOP_S))
        eventually("joined", lambda: len(participants(run, rulebook)) == 1)
        for member in cluster.members[:2]:
            member.kill()
        second = joining(run.node(2, rulebook=rulebook, join_s=BACKSTOP_S)).let_block()
        assert first.running
        assert second.running
        for member in cluster.members[:2]:
            member.start()
        assert sorted((first.result().rank, second.result().rank)) == [0, 1]


def participants(run: EtcdRun, rulebook: str) -> Sequence[_core.Node]:
    if rulebook == "auto":
        return run.look().participants
    answer = run.backend().get_state()
    group = _core.Group()
    group.observe(answer[0] if answer else None, 0.0)
    return list(group.participants)


def test_an_election_whose_answer_is_lost_is_noticed(etcd_endpoint: str) -> None:
    """The key says that this node leads: it does, although nobody told it so. Nobody else can."""
    with run_at(etcd_endpoint) as run:
        handler = run.node(1, join_s=BACKSTOP_S)
        client: Any = handler._coordinator._client  # type: ignore[attr-defined]
        elect = client.txn
        lost: list[Any] = []

        def txn(*args: Any, **options: Any) -> Any:
            result = elect(*args, **options)
            if "electing" in options["what"] and not lost:
                lost.append(result)
                raise EtcdConnectionError("the answer did not come")
            return result

        client.txn = txn
        assert handler.next_rendezvous().rank == 0
        assert len(lost) == 1


def test_an_outage_of_writes_is_told_once(
    etcd_endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader whose writes are refused tries on, says so when it begins and when it is over."""
    with run_at(etcd_endpoint) as run:
        handler = run.node(1, 2, join_s=BACKSTOP_S)
        handler.next_rendezvous()
        leader: Any = handler._coordinator._election.leader  # type: ignore[attr-defined]
        publish, refused = leader._press.publish, []

        def refuse(*args: Any, **options: Any) -> None:
            refused.append(args)
            raise EtcdConnectionError("etcdserver: mvcc: database space exceeded")

        leader._press.publish = refuse
        newcomer = joining(run.node(1, 2, join_s=BACKSTOP_S))
        eventually("several attempts", lambda: len(refused) >= 3)
        leader._press.publish = publish
        eventually("a change", lambda: handler.num_nodes_waiting() > 0)
        both = [joining(handler), newcomer]
        assert {call.result().world_size for call in both} == {2}
    told = [record.getMessage() for record in caplog.records if "leading" in record.getMessage()]
    assert len(told) == 2, told
    assert "retrying" in told[0]
    assert "works again" in told[1]


def test_answers_are_lost_after_what_they_answer_was_done(
    etcd_endpoint: str, rulebook: str
) -> None:
    """Every few of them: each node is in the round once, with a rank of its own."""
    done = threading.Event()
    with (
        etcd_proxy(int(etcd_endpoint.rpartition(":")[2])) as proxy,
        run_at(f"127.0.0.1:{proxy.port}") as run,
    ):

        def lose() -> None:
            for _ in range(40):  # not for ever: nobody would get through in the end
                proxy.cut_before_next_reply()
                if done.wait(0.02):
                    return

        losing = threading.Thread(target=lose)
        losing.start()
        try:
            infos = met(run.nodes(4, 4, rulebook=rulebook), 4)
        finally:
            done.set()
            losing.join()
        for info in infos:
            assert info.store.add("here", 1) >= 1
        assert infos[0].store.get("here") == b"4"


def test_history_is_compacted_under_the_watches(binary: str) -> None:
    """While they were cut off: what happened meanwhile is read anew, and nothing is missed."""
    with (
        Cluster(binary) as cluster,
        etcd_proxy(cluster.members[0].port) as proxy,
        socket.socket() as nobody,
        run_at(f"127.0.0.1:{proxy.port}") as run,
    ):
        # A port that is held, on which nobody listens, cannot become another test's meanwhile.
        nobody.bind(("127.0.0.1", 0))
        handlers = run.nodes(2, 2, 3)
        met(handlers, 2)
        direct = cluster.client()
        proxy.target_port = nobody.getsockname()[1]
        proxy.cut()
        direct.delete(RunKeys(run.prefix, RUN).node(node_name(handlers[1].node)))
        for number in range(10):
            last = direct.put(b"other", b"%d" % number)
        cluster.admin("kv/compaction", revision=str(last))
        direct.close()
        proxy.target_port = cluster.members[0].port
        for handler in handlers:
            changes(handler, 1)
        assert {info.round for info in met(handlers, 2)} == {2}


def test_the_tokens_of_all_nodes_are_forgotten(binary: str, rulebook: str) -> None:
    """A member that starts anew knows none: watches, signs of life and joins log in again."""
    with Cluster(binary, arguments=["--bcrypt-cost=4"]) as cluster:
        cluster.enable_users()
        with run_at(cluster.endpoints, user=USER, password=PASSWORD) as run:
            handlers = run.nodes(2, 2, rulebook=rulebook)
            met(handlers, 2)
            [member] = cluster.members
            member.kill()
            member.start()
            handlers[0].leave(failed=True)
            changes(handlers[1], 1)
            assert {info.round for info in met(handlers, 2)} == {2}


def test_a_wrong_password_is_told_at_once(binary: str, rulebook: str) -> None:
    """Not at the join timeout, which may be hours, and without the password."""
    with Cluster(binary) as cluster:
        cluster.enable_users()
        with run_at(cluster.endpoints, user=USER, password="guess") as run:
            handler = run.node(1, join_s=3600, rulebook=rulebook)
            with pytest.raises(RendezvousConnectionError, match="name and password") as caught:
                joining(handler).result()
            assert "guess" not in str(caught.value)


def test_a_value_that_is_too_large_ends_nothing(etcd_endpoint: str) -> None:
    """It is refused to who sets it; the round goes on, and so does its store."""
    with run_at(etcd_endpoint) as run:
        handlers = run.nodes(2, 2)
        infos = met(handlers, 2)
        with pytest.raises(StoreLimitError, match="max-request-bytes"):
            infos[0].store.set("k", "v" * 2_000_000)
        infos[0].store.set("k", "small")
        assert infos[1].store.get("k") == b"small"
        assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0]


def test_a_forked_child_uses_the_store_and_disturbs_nobody(
    etcd_endpoint: str, rulebook: str
) -> None:
    """As workers of data loaders are: the node stays in the round when its child ends."""
    with run_at(etcd_endpoint) as run:
        handlers = run.nodes(2, 2, rulebook=rulebook)
        infos = met(handlers, 2)
        store: Any = infos[0].store
        store.set("of the parent", "1")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(20):
                    store.add("n", 1)
                status = 0 if store.get("of the parent") == b"1" else 2
            finally:
                os._exit(status)
        for _ in range(20):
            store.add("n", 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert store.get("n") == b"40"
        assert [handler.num_nodes_waiting() for handler in handlers] == [0, 0]
        handlers[1].leave(failed=True)
        changes(handlers[0], 1)
        assert {info.round for info in met(handlers, 2)} == {2}


CALLS: dict[str, Callable[[EtcdRun], object]] = {
    "store": lambda run: run.new_etcd_store().set("k", "v"),
    "wait": lambda run: run.new_etcd_store().get("k"),
    "backend": lambda run: run.backend().get_state(),
    "run": lambda run: run.node(1, join_s=10.0).next_rendezvous(),
    "run of one state": lambda run: run.node(1, join_s=10.0, rulebook="store").next_rendezvous(),
}


def test_a_gateway_that_is_off_is_told(binary: str) -> None:
    """By store, backend and run: the error names the settings that switch it off or move it."""
    with (
        Cluster(binary, arguments=["--enable-grpc-gateway=false"]) as cluster,
        run_at(cluster.endpoints, transport="gateway") as run,
    ):
        for name, call in CALLS.items():
            with pytest.raises(Exception, match="enable-grpc-gateway") as caught:
                call(run)
            # A run waits for what may still come up; a call tells at once.
            if not name.startswith("run"):
                assert not isinstance(caught.value, StoreTimeoutError), name
