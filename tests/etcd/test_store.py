"""EtcdStore: what the contract of all stores does not say. That is in tests/contract."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.background import Background, eventually
from support.etcd import PASSWORD, USER, Cluster, etcd_proxy
from support.proxy import FaultProxy

from rendezvous import StoreLimitError, StoreTimeoutError, open_store
from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdStore


@pytest.fixture
def prefix() -> str:
    return f"/test/{uuid.uuid4()}"


@pytest.fixture
def store(single: Cluster, prefix: str) -> Iterator[EtcdStore]:
    """An empty store."""
    store = EtcdStore(single.client(), prefix, 60)
    yield store
    store.close()


def names(cluster: Cluster, prefix: str) -> list[bytes]:
    client = cluster.client()
    start = prefix.encode() + b"/"
    found = client.range(start, start[:-1] + b"0", keys_only=True)
    client.close()
    return [kv.key[len(start) :] for kv in found.kvs]


def test_everything_lies_below_the_prefix(store: EtcdStore, single: Cluster, prefix: str) -> None:
    """Values as they are, items of queues, and the writer's record."""
    store.set("a/key", b"\x00value")
    store.queue_push("jobs/to do", "item")
    value, item, record = names(single, prefix)
    assert value == b"keys/a/key"
    assert item.startswith(b"queues/jobs%2Fto%20do/")
    assert record.startswith(b"sessions/")
    client = single.client()
    assert client.range(f"{prefix}/keys/a/key".encode()).kvs[0].value == b"\x00value"
    client.close()


def test_a_role_for_the_prefix_is_enough(binary: str) -> None:
    """For every operation; beyond the prefix there is nothing that it needs."""
    with Cluster(binary) as cluster:
        cluster.enable_users()
        store = EtcdStore(cluster.client(user=USER, password=PASSWORD), "jobs", 60)
        store.set("k", "v", ttl=1000)
        store.append("k", "w")
        assert store.add("n", 1) == 1
        assert store.compare_set("k", "vw", "x") == b"x"
        store.multi_set(["a", "b"], ["1", "2"])
        getting = Background(store.get, "later").let_block()
        store.set("later", "v")
        assert getting.result() == b"v"
        many = Background(store.wait, [f"many {i}" for i in range(100)]).let_block()
        for i in range(100):
            store.set(f"many {i}", "")
        many.result()
        store.queue_push("q", "item")
        assert store.queue_pop("q") == b"item"
        store.barrier("meet", 1)
        assert store.exchange("x", 0, 1, "v") == [b"v"]
        assert store.num_keys() == len(store.list_keys())
        assert store.delete_prefix("many") == 100
        assert store.delete_key("k")
        store.close()


WRITES: dict[str, Callable[[EtcdStore], Any]] = {
    "set": lambda s: s.set("k", "v"),
    "set ttl": lambda s: s.set("k", "v", ttl=1000),
    "add": lambda s: s.add("n", 5),
    "append": lambda s: s.append("k", "v"),
    "compare_exchange": lambda s: s.compare_exchange("new", "", "v"),
    "set_if_version": lambda s: s.set_if_version("new", "v", 0)[1],
    "multi_set": lambda s: s.multi_set(["a", "b"], ["1", "2"]),
    "delete_key": lambda s: s.delete_key("old"),
    "delete_prefix": lambda s: s.delete_prefix("ol"),
    "queue_push": lambda s: s.queue_push("q", "item"),
    "queue_pop": lambda s: s.queue_pop("full", timeout=60),
    "exchange": lambda s: s.exchange("x", 0, 1, "v"),
    "barrier": lambda s: s.barrier("b", 1),
}


def lose_the_next_answer(store: EtcdStore, proxy: FaultProxy) -> None:
    """To a transaction that writes."""
    commit = store._session.commit

    def once(*args: Any, **kwargs: Any) -> Any:
        store._session.commit = commit  # type: ignore[method-assign]
        proxy.cut_before_next_reply()
        return commit(*args, **kwargs)

    store._session.commit = once  # type: ignore[method-assign]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answer_is_lost_is_done_once(
    single: Cluster, prefix: str, write: str
) -> None:
    """It ends as one whose answer came: same result, same values, nothing twice."""
    outcomes = []
    for lose in (False, True):
        with etcd_proxy(single.members[0].port) as proxy:
            client = EtcdClient(f"127.0.0.1:{proxy.port}")
            store = EtcdStore(client, f"{prefix}/{lose}", 60)
            store.multi_set(["old", "old2", "n"], ["1", "2", "10"])
            store.queue_push("full", "first")
            store.queue_push("full", "second")
            if lose:
                lose_the_next_answer(store, proxy)
            result = WRITES[write](store)
            assert proxy.connections > lose  # or the answer was not lost
            keys = store.list_keys()
            values = store.multi_get(keys)
            queues = (store.queue_len("q"), store.queue_len("full"))
            outcomes.append((result, dict(zip(keys, values, strict=True)), queues))
            client.close()
    assert outcomes[0] == outcomes[1]


def test_records_that_vanish_are_made_anew(store: EtcdStore, single: Cluster, prefix: str) -> None:
    """Their lease ran out while the writer slept: it goes on, with others."""
    running = [Background(store.add, "n", 1) for _ in range(8)]
    for each in running:
        each.result()
    client = single.client()
    start = f"{prefix}/sessions/".encode()
    assert client.delete(start, start[:-1] + b"0") >= 1
    assert store.add("n", 1) == 9
    client.revoke_lease(store._session._lease.get(Deadline.after(60)))
    assert store.add("n", 1) == 10
    client.close()


def test_a_time_to_live_is_kept_by_the_cluster(
    store: EtcdStore, single: Cluster, prefix: str
) -> None:
    """In whole seconds, rounded up, by a lease that add keeps and set ends."""
    client = single.client()

    def granted(key: str) -> int:
        [found] = client.range(f"{prefix}/keys/{key}".encode()).kvs
        if not found.lease:
            return 0
        return int(single.admin("lease/timetolive", ID=str(found.lease))["grantedTTL"])

    store.set("n", "1", ttl=1000.2)
    assert granted("n") == 1001
    store.add("n", 1)
    assert granted("n") == 1001
    store.set("n", "1")
    assert granted("n") == 0
    for forever in (float("inf"), 1e300):
        store.set("n", "1", ttl=forever)
        assert granted("n") > 1e9
    store.set("soon", "v", ttl=0.1)
    value, version = store.watch("soon", 0)
    assert value == b"v"
    assert store.watch("soon", version) == (None, 0)
    client.close()


def test_versions_are_revisions(store: EtcdStore) -> None:
    """watch and set_if_version speak of the same numbers; each write has a new one."""
    first, swapped = store.set_if_version("k", "one", 0)
    assert swapped
    watching = Background(store.watch, "k", first).let_block()
    second, swapped = store.clone().set_if_version("k", "two", first)
    assert swapped
    assert watching.result() == (b"two", second)
    assert store.set_if_version("k", "late", first) == (second, False)
    assert store.set_if_version("k", "late", 2**64 - 1) == (second, False)
    assert store.try_get("k") == b"two"
    watching = Background(store.watch, "k", second).let_block()
    store.delete_key("k")
    assert watching.result() == (None, 0)
    assert store.set_if_version("k", "late", second) == (0, False)
    with pytest.raises(StoreTimeoutError, match="k' still has no value"):
        store.watch("k", 0, 0.01)


def test_all_ranks_exchange(store: EtcdStore) -> None:
    """A rank that comes again counts once; a timeout names who is missing."""
    with pytest.raises(StoreTimeoutError, match=r"2 of 3 ranks .*x': 1, 2\b"):
        store.exchange("x", 0, 3, "old", 0.05)
    running = [Background(store.exchange, "x", 0, 3, "0")]
    # Until then, what it gave before is what the others would be given.
    eventually("rank 0 again", lambda: store.get("x/0") == b"0")
    running += [Background(store.exchange, "x", rank, 3, str(rank)) for rank in (1, 2)]
    for each in running:
        assert each.result() == [b"0", b"1", b"2"]
    assert store.get("x") == b"3"


def test_many_keys_are_waited_for_as_few_are(store: EtcdStore) -> None:
    """More than fit one transaction or one watch each; the values are of one moment."""
    keys = [f"k{number}" for number in range(300)]
    reading = Background(store.multi_get, keys)
    waiting = Background(store.wait, [*keys, "queue"]).let_block()
    for begin in range(0, 300, 100):
        part = keys[begin : begin + 100]
        assert reading.running
        store.multi_set(part, ["old"] * 100)
    store.set("k0", "new")
    assert reading.result() == [b"old"] * 300
    assert waiting.running
    store.queue_push("queue", "item")
    waiting.result()


def test_keys_of_any_length_are_waited_for(single: Cluster) -> None:
    """Also such as fit no request with several watches, below a prefix that does not either."""
    for prefix in ("/long", "/long/" + "p" * 600):
        store = EtcdStore(single.client(), prefix, 60)
        store.delete_prefix("")
        keys = ["a" * 10_000, "b" * 100, "c"]
        waiting = Background(store.wait, keys)
        reading = Background(store.multi_get, keys).let_block()
        for key in keys:
            assert waiting.running
            assert reading.running
            store.set(key, key[0])
        assert reading.result() == [b"a", b"b", b"c"]
        waiting.result()
        store.close()


def test_more_keys_than_one_transaction_holds_are_refused(store: EtcdStore) -> None:
    """multi_set is all or nothing; 127 keys are possible, and a key that is named twice is one."""
    keys = [f"k{number}" for number in range(127)]
    store.multi_set([*keys, "k0"], ["1"] * 127 + ["2"])
    assert store.get("k0") == b"2"
    assert store.num_keys() == 127
    with pytest.raises(StoreLimitError, match="128 keys; etcd sets at most 127 at once"):
        store.multi_set([*keys, "more"], ["1"] * 128)


def test_values_beyond_the_clusters_limit_are_refused(store: EtcdStore) -> None:
    """The error says the limit and its setting; nothing is changed."""
    store.set("k", b"v" * 1_500_000)
    for size in (1_600_000, 5_000_000):
        with pytest.raises(StoreLimitError, match="max-request-bytes"):
            store.set("k", b"w" * size)
    with pytest.raises(StoreLimitError, match="max-request-bytes"):
        store.append("k", b"v" * 1_500_000)
    with pytest.raises(StoreLimitError, match="the limit is 10485760"):
        store.set("k", b"w" * (10 * 1024 * 1024 + 1))
    assert store.get("k") == b"v" * 1_500_000


def test_a_forked_process_uses_the_store_beside_its_parent(store: EtcdStore) -> None:
    """Both count at the same time, and no count is lost."""
    store.add("n", 1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for _ in range(50):
                store.add("n", 1)
            status = 0
        finally:
            os._exit(status)
    for _ in range(50):
        store.add("n", 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.get("n") == b"101"


def test_a_url_names_a_store(single: Cluster, prefix: str, store: EtcdStore) -> None:
    """Its members, its prefix and its timeout."""
    store.set("k", "v")
    opened: Any = open_store(f"etcd://{single.endpoints}{prefix}?timeout=30")
    assert opened.get("k") == b"v"
    assert opened.timeout.total_seconds() == 30
    opened.close()
    several: Any = open_store("etcd://h1:2379,h2,[fd00::5]:7/a%20b")
    assert repr(several) == "EtcdStore([fd00::5]:7,h1:2379,h2:2379, '/a b')"
    default: Any = open_store("etcd://h")
    assert default.prefix == "/torch/elastic/store"
    for url, what in (
        ("etcd://h/p?protocol=v2", "unknown option 'protocol'"),
        ("etcds://h/p?ca_cert=/no/file", "ca_cert '/no/file'"),
    ):
        with pytest.raises(ValueError, match=what):
            open_store(url)


def test_loopback_is_no_address_of_this_machine(store: EtcdStore) -> None:
    """A member on this machine, or a proxy beside it, does not say how others get here."""
    assert not store.observed_address
