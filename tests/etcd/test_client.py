"""The client, on a real etcd: what each operation means, and how long it may take."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
from support.background import Background
from support.etcd import Cluster, etcd_proxy

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.client.watch import CompactedError
from rendezvous.backends.etcd.client.wire import (
    compare_mod,
    compare_value,
    op_delete,
    op_put,
    op_range,
    prefix_end,
)
from rendezvous.backends.etcd.transport.errors import (
    COMPACTED,
    EtcdConnectionError,
    EtcdLimitError,
    EtcdRequestError,
    EtcdTimeoutError,
)
from rendezvous.errors import StoreLimitError

# Of an answer that is long: settings and a frame's head, and a head.
BEGINS = {
    "grpc": b"\0\0\0\4\0\0\0\0\0" + b"\0\x40\0\0\0\0\0\0\1",
    "gateway": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
}
# The promise is 0.1 s; the rest is for machines that have other things to do.
LATE_S = 1.0


@pytest.mark.parametrize("value", [b"text", b"", b"\x00\xff" * 1000, b"x" * 1_500_000])
def test_a_value_comes_back_as_it_was_put(client: EtcdClient, value: bytes) -> None:
    """Any bytes; the revision of the write is that of the key."""
    revision = client.put(b"\x00key/\xff", value)
    found = client.range(b"\x00key/\xff").first
    assert found is not None
    assert (found.value, found.mod_revision) == (value, revision)


def test_a_missing_key_is_no_error(client: EtcdClient) -> None:
    """Nor is deleting one."""
    assert client.range(b"gone").first is None
    assert client.delete(b"gone") == 0


def test_a_prefix_is_a_range(client: EtcdClient) -> None:
    """From the prefix to what follows all that begin with it, 0xff included."""
    for key in (b"a", b"a/", b"a/\xff\xff", b"a0", b"b"):
        client.put(key, b"")
    found = client.range(b"a/", prefix_end(b"a/"))
    assert [kv.key for kv in found.kvs] == [b"a/", b"a/\xff\xff"]
    assert client.range(b"\0", prefix_end(b""), count_only=True).count == 5
    assert client.delete(b"a", prefix_end(b"a")) == 4


def test_a_transaction_compares_and_does_all_or_nothing(client: EtcdClient) -> None:
    """The token is the revision of the key's last write, 0 for none."""
    first = client.txn([compare_mod(b"k", 0)], [op_put(b"k", b"1")], [op_range(b"k")])
    assert first.succeeded
    lost = client.txn([compare_mod(b"k", 0)], [op_put(b"k", b"2")], [op_range(b"k")])
    assert not lost.succeeded
    current = lost.range(0).first
    assert current is not None
    assert (current.value, current.mod_revision) == (b"1", first.revision)
    moved = client.txn(
        [compare_mod(b"k", first.revision), compare_value(b"k", b"1")],
        [op_delete(b"k"), op_put(b"j", b"1")],
    )
    assert moved.deleted(0) == 1
    assert client.range(b"j").kvs[0].mod_revision == moved.revision


def test_a_read_may_be_of_an_earlier_revision(client: EtcdClient) -> None:
    """Until that is compacted, which has an error code of its own."""
    revision = client.put(b"k", b"1")
    client.put(b"k", b"2")
    found = client.range(b"k", revision=revision).first
    assert found is not None
    assert found.value == b"1"


@pytest.mark.parametrize("count", [2, 3])
def test_several_ranges_are_read_as_of_one_moment(client: EtcdClient, count: int) -> None:
    """Two, which are asked for one after the other, and more, which are one request."""
    then = 0
    for number in range(count):
        then = client.put(b"/k%d" % number, b"before")
    reads = [op_range(b"/k%d" % number) for number in range(count)]
    for number in range(count):
        client.put(b"/k%d" % number, b"after")
    now = client.read(reads)
    assert now.revision == then + count
    assert [each.first.value for each in now.ranges if each.first] == [b"after"] * count
    before = client.read(reads, revision=then)
    assert before.revision == then
    assert [each.first.value for each in before.ranges if each.first] == [b"before"] * count
    assert client.range(b"/k0").revision == now.revision  # to read is to write nothing


@pytest.mark.parametrize("count", [2, 3])
def test_ranges_of_a_moment_that_is_gone_are_refused(
    client: EtcdClient, single: Cluster, count: int
) -> None:
    """With the code that says so, and the member lives on."""
    first = client.put(b"/k", b"1")
    last = client.put(b"/k", b"2")
    single.admin("kv/compaction", revision=str(last))
    with pytest.raises(EtcdRequestError, match="compacted") as refused:
        client.read([op_range(b"/k")] * count, revision=first)
    assert refused.value.code == COMPACTED
    assert client.read([op_range(b"/k")] * count).revision == last


def test_a_transaction_that_only_reads_is_not_sent(client: EtcdClient) -> None:
    """It would stop members of some versions; see EtcdClient.read."""
    with pytest.raises(ValueError, match="only reads"):
        client.txn([], [op_range(b"/k")])


def test_a_value_too_large_is_refused_and_says_the_limit(client: EtcdClient) -> None:
    """Nothing is changed, and the client goes on."""
    for size in (1_572_864, 8_000_000):
        with pytest.raises(EtcdLimitError, match=r"1\.5 MiB.*smaller") as caught:
            client.put(b"k", b"x" * size)
        assert isinstance(caught.value, StoreLimitError)
    assert client.range(b"k").first is None
    many = [op_put(b"%d" % number, b"") for number in range(129)]
    with pytest.raises(EtcdLimitError, match="128 keys"):
        client.txn((), many)


def test_leases_keep_keys_and_end_them(client: EtcdClient) -> None:
    """A key goes with its lease; a lease that is gone keeps nothing, and is told."""
    lease, ttl_s = client.grant_lease(60)
    assert ttl_s >= 60
    client.put(b"k", b"v", lease=lease)
    assert client.keep_lease(lease) == ttl_s
    client.revoke_lease(lease)
    client.revoke_lease(lease)
    assert client.range(b"k").first is None
    assert client.keep_lease(lease) == 0
    with pytest.raises(EtcdRequestError, match="lease not found") as caught:
        client.put(b"k", b"v", lease=lease)
    assert caught.value.code == 5


def test_a_watch_sees_every_write_from_its_revision_on(client: EtcdClient) -> None:
    """Those before it was opened as well as those after; deletions as such."""
    revision = client.put(b"k", b"1")
    client.put(b"k", b"2")
    client.put(b"other", b"")
    seen = []
    with client.watch([(b"k", b"")], revision + 1) as watch:
        seen += watch.next(Deadline.after(60))
        client.delete(b"k")
        while len(seen) < 2:
            seen += watch.next(Deadline.after(60))
        assert watch.next(Deadline.after(0.05)) == []
    assert [(event.is_delete, event.kv.value) for event in seen] == [(False, b"2"), (True, b"")]


def test_a_watch_of_several_ranges_sees_them_all(client: EtcdClient) -> None:
    """On one connection."""
    revision = client.put(b"start", b"")
    keys: set[bytes] = set()
    with client.watch([(b"a", b""), (b"p/", b"p0"), (b"z", b"")], revision + 1) as watch:
        for key in (b"z", b"p/1", b"a"):
            client.put(key, b"")
        while len(keys) < 3:
            keys |= {event.kv.key for event in watch.next(Deadline.after(60))}
    assert keys == {b"a", b"p/1", b"z"}


def test_a_large_event_comes_whole(client: EtcdClient) -> None:
    """However many pieces it arrives in."""
    revision = client.put(b"k", b"x" * 1_400_000)
    with client.watch([(b"k", b"")], revision) as watch:
        [event] = watch.next(Deadline.after(60))
    assert event.kv.value == b"x" * 1_400_000


def test_a_watch_from_before_a_compaction_says_where_history_begins(
    client: EtcdClient, single: Cluster
) -> None:
    """The stream stays open and silent: the answer must not be overlooked."""
    first = client.put(b"k", b"1")
    for value in (b"2", b"3"):
        last = client.put(b"k", value)
    single.admin("kv/compaction", revision=str(last))
    with client.watch([(b"k", b"")], first) as watch:
        with pytest.raises(CompactedError) as caught:
            watch.next(Deadline.after(60))
        assert caught.value.revision == last
    with pytest.raises(EtcdRequestError, match="compacted") as refused:
        client.range(b"k", revision=first)
    assert refused.value.code == COMPACTED


def test_nobody_there_is_a_clean_failure_within_the_deadline(
    free_port: int, transport: str
) -> None:
    """It names operation, key, endpoint and reason, and says that nothing was done."""
    client = EtcdClient(f"127.0.0.1:{free_port}", transport=transport)
    begin = time.monotonic()
    with pytest.raises(EtcdTimeoutError) as caught:
        client.put(b"the key", b"v", deadline=Deadline.after(0.5))
    assert time.monotonic() - begin > 0.4
    text = str(caught.value)
    for part in ("writing 'the key'", f"127.0.0.1:{free_port}", "refused", "0.5", "majority"):
        assert part in text
    assert not caught.value.ambiguous


@pytest.mark.parametrize("timeout_s", [0.0, 0.2, 1.7])
def test_a_member_that_hangs_holds_nobody_beyond_the_deadline(
    timeout_s: float, transport: str
) -> None:
    """It accepts and never answers; a write may have been done."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = EtcdClient(f"127.0.0.1:{listener.getsockname()[1]}", transport=transport)
        begin = time.monotonic()
        with pytest.raises((EtcdTimeoutError, EtcdConnectionError)) as caught:
            client.put(b"k", b"v", deadline=Deadline.after(timeout_s))
        assert time.monotonic() - begin < timeout_s + LATE_S
        assert getattr(caught.value, "ambiguous")  # noqa: B009  (both kinds have it)


def test_a_member_that_answers_by_the_byte_holds_nobody_beyond_the_deadline(transport: str) -> None:
    """The deadline is that of the whole answer, not of each piece."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(BEGINS[transport])
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"\0")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = Background(drip, listener)
        client = EtcdClient(f"127.0.0.1:{listener.getsockname()[1]}", transport=transport)
        begin = time.monotonic()
        with pytest.raises(EtcdTimeoutError):
            client.range(b"k", deadline=Deadline.after(0.3))
        assert time.monotonic() - begin < 0.3 + LATE_S
        stop.set()
        dripping.result()


def test_an_answer_in_single_bytes_is_read(single: Cluster, transport: str) -> None:
    """Of calls and of watches."""
    with etcd_proxy(single.members[0].port) as proxy:
        proxy.split_bytes = 1
        client = EtcdClient(f"127.0.0.1:{proxy.port}", transport=transport)
        revision = client.put(b"k", b"v")
        with client.watch([(b"k", b"")], revision) as watch:
            assert [event.kv.value for event in watch.next(Deadline.after(60))] == [b"v"]
        client.close()


def test_a_lost_answer_is_told_from_a_clean_failure(single: Cluster, transport: str) -> None:
    """The write was done: it is neither repeated nor called a failure."""
    with etcd_proxy(single.members[0].port) as proxy:
        client = EtcdClient(f"127.0.0.1:{proxy.port}", transport=transport)
        client.put(b"k", b"before")
        proxy.cut_before_next_reply()
        with pytest.raises(EtcdConnectionError, match="may or may not have been applied") as caught:
            client.put(b"k", b"after")
        assert caught.value.ambiguous
        found = client.range(b"k").first
        assert found is not None
        assert found.value == b"after"
        client.close()


def test_what_can_be_repeated_is(single: Cluster, transport: str) -> None:
    """A read at once; a transaction whose comparison fails the second time, when it is said."""
    with etcd_proxy(single.members[0].port) as proxy:
        client = EtcdClient(f"127.0.0.1:{proxy.port}", transport=transport)
        client.delete(b"k")
        proxy.cut_before_next_reply()
        assert client.range(b"k").first is None
        proxy.cut_before_next_reply()
        result = client.txn(
            [compare_mod(b"k", 0)], [op_put(b"k", b"v")], [op_range(b"k")], repeatable=True
        )
        assert not result.succeeded  # the first one had
        assert result.range(0).kvs[0].value == b"v"
        client.close()


def test_a_connection_that_the_member_closed_while_idle_costs_nothing(
    single: Cluster, transport: str
) -> None:
    """A write on it would have an unknown end."""
    with etcd_proxy(single.members[0].port) as proxy:
        client = EtcdClient(f"127.0.0.1:{proxy.port}", transport=transport)
        for _ in range(3):
            client.put(b"k", b"v")
            proxy.cut()
        client.put(b"k", b"v")
        client.close()


def test_a_forked_process_has_connections_of_its_own(client: EtcdClient) -> None:
    """Parent and child go on at the same time, and neither reads the other's answers."""
    client.put(b"k", b"parent")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for number in range(100):
                client.put(b"child", b"%d" % number)
                if client.range(b"child").kvs[0].value != b"%d" % number:
                    break
            else:
                status = 0
        finally:
            os._exit(status)
    for _ in range(100):
        assert client.range(b"k").kvs[0].value == b"parent"
    assert os.waitpid(pid, 0)[1] == 0


def test_threads_have_connections_of_their_own(client: EtcdClient) -> None:
    """Each reads what it wrote, whatever the others do."""

    def use(name: bytes) -> None:
        for number in range(50):
            client.put(name, b"%d" % number)
            assert client.range(name).kvs[0].value == b"%d" % number
        client.close()

    for running in [Background(use, b"thread %d" % number) for number in range(8)]:
        running.result()
