"""The rendezvous backend on etcd: what the contract of all backends does not say."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support.background import Background
from support.etcd import Certificates, Cluster, etcd_proxy

from rendezvous import (
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousStateError,
    get_rendezvous_handler,
    open_store,
    rendezvous_handler_registry,
)
from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdStore, create_backend
from rendezvous.backends.etcd.open import open_backend

RUN = "run-1"
KEY = b"/torch/elastic/rendezvous/run-1"


def written(answer: tuple[bytes, object, bool] | None) -> object:
    assert answer is not None
    assert answer[2]
    return answer[1]


def lease_of(client: EtcdClient, key: bytes = KEY) -> int:
    found = client.range(key).first
    assert found is not None
    return found.lease


def test_the_state_is_kept_as_it_is_under_a_lease(client: EtcdClient, single: Cluster) -> None:
    """Behind 16 bytes that name the write; for 7,200 s after the last one."""
    backend = EtcdRendezvousBackend(client, RUN)
    token = written(backend.set_state(b"\x00state"))
    found = client.range(KEY).first
    assert found is not None
    assert found.value[16:] == b"\x00state"
    assert found.mod_revision == token
    granted = single.admin("lease/timetolive", ID=str(found.lease))
    assert int(granted["grantedTTL"]) == 7200
    written(backend.set_state(b"2", token))
    assert lease_of(client) == found.lease


def test_the_token_changes_with_every_write(client: EtcdClient) -> None:
    """Also with one that writes the same state."""
    backend = EtcdRendezvousBackend(client, RUN)
    tokens = [written(backend.set_state(b"same"))]
    for _ in range(3):
        tokens.append(written(backend.set_state(b"same", tokens[-1])))
    assert len(set(tokens)) == 4


@pytest.mark.parametrize("first", [True, False], ids=["create", "replace"])
def test_a_write_whose_answer_is_lost_is_done_once(single: Cluster, first: bool) -> None:
    """The caller never learns of the loss: its write has won, with the token of the write."""
    with etcd_proxy(single.members[0].port) as proxy:
        direct = single.client()
        direct.delete(KEY)
        client = EtcdClient(f"127.0.0.1:{proxy.port}")
        backend = EtcdRendezvousBackend(client, RUN)
        token = None if first else written(EtcdRendezvousBackend(direct, RUN).set_state(b"before"))
        backend._lease.get(Deadline.after(60))
        proxy.cut_before_next_reply()
        token = written(backend.set_state(b"after", token))
        found = direct.range(KEY).first
        assert found is not None
        assert (found.value[16:], found.mod_revision) == (b"after", token)
        assert backend.get_state() == (b"after", token)
        client.close()
        direct.close()


def test_a_lease_that_vanished_is_granted_anew(client: EtcdClient) -> None:
    """Somebody revoked it, or the cluster lost it: the next write has another one."""
    backend = EtcdRendezvousBackend(client, RUN)
    token = written(backend.set_state(b"1"))
    lease = lease_of(client)
    client.revoke_lease(lease)
    assert backend.get_state() is None
    assert backend.set_state(b"2", token) is None
    written(backend.set_state(b"2"))
    assert lease_of(client) != lease


def test_a_state_nobody_writes_is_deleted_after_its_ttl(client: EtcdClient) -> None:
    """While its writer lives: leases are renewed by writing alone."""
    backend = EtcdRendezvousBackend(client, RUN, ttl=timedelta(seconds=0.5))
    written(backend.set_state(b"1"))
    revision = client.range(KEY).revision
    with client.watch([(KEY, b"")], revision + 1) as watch:
        [event] = watch.next(Deadline.after(60))
    assert event.is_delete
    assert backend.get_state() is None
    written(backend.set_state(b"2"))


def test_writers_of_one_state_never_lose_a_change(client: EtcdClient, single: Cluster) -> None:
    """Eight of them append a letter ten times each, by compare-and-set."""

    def write(letter: bytes) -> None:
        own = single.client()
        backend = EtcdRendezvousBackend(own, RUN)
        answer = backend.get_state()
        for _ in range(10):
            while True:
                state, token = answer[:2] if answer else (b"", None)
                result = backend.set_state(state + letter, token)
                answer = result and (result[0], result[1])
                if result is not None and result[2]:
                    break
        own.close()

    for running in [Background(write, b"%c" % (97 + number)) for number in range(8)]:
        running.result()
    answer = EtcdRendezvousBackend(client, RUN).get_state()
    assert answer is not None
    assert sorted(answer[0]) == sorted(b"abcdefgh" * 10)


def test_a_forked_process_writes_beside_its_parent(client: EtcdClient) -> None:
    """Over connections of its own; neither loses what the other wrote."""
    backend = EtcdRendezvousBackend(client, RUN)
    written(backend.set_state(b""))

    def write(sign: bytes) -> None:
        for _ in range(20):
            answer = backend.get_state()
            assert answer is not None
            state, token = answer
            while True:
                outcome = backend.set_state(state + sign, token)
                assert outcome is not None
                state, token, won = outcome
                if won:
                    break

    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            write(b"c")
            status = 0
        finally:
            os._exit(status)
    write(b"p")
    assert os.waitpid(pid, 0)[1] == 0
    answer = backend.get_state()
    assert answer is not None
    assert sorted(answer[0]) == sorted(b"c" * 20 + b"p" * 20)


def test_errors_are_the_rendezvous_own(free_port: int, client: EtcdClient) -> None:
    """They name the key and the endpoint, with the store's error as the cause."""
    dead = EtcdRendezvousBackend(EtcdClient(f"127.0.0.1:{free_port}"), RUN)
    dead.set_timeout(0.2)
    for act in (dead.get_state, lambda: dead.set_state(b"1"), lambda: dead.set_state(b"1", "t")):
        with pytest.raises(RendezvousConnectionError, match=rf"{RUN}.*{free_port}") as caught:
            act()
        assert caught.value.__cause__ is not None
    client.put(KEY, b"what torch's etcd-v2 wrote")
    with pytest.raises(RendezvousStateError, match=RUN):
        EtcdRendezvousBackend(client, RUN).get_state()
    with pytest.raises(RendezvousConnectionError, match=r"larger than max|too large"):
        EtcdRendezvousBackend(client, "large").set_state(b"x" * 4_000_000)


def parameters(endpoint: str, **config: Any) -> RendezvousParameters:
    return RendezvousParameters("etcd", endpoint, RUN, 1, 2, **config)


def test_create_backend_reads_torchs_keys_and_ours(single: Cluster, client: EtcdClient) -> None:
    """The state and the store of a run are found by every node that names the same."""
    backend, store = create_backend(
        parameters("", endpoints=single.endpoints, protocol="http", read_timeout="7")
    )
    other, other_store = create_backend(parameters(single.endpoints))
    token = written(backend.set_state(b"1"))
    assert other.get_state() == (b"1", token)
    assert client.range(KEY).first is not None
    store.set("k", "v")
    assert other_store.get("k") == b"v"
    assert client.range(b"/torch/elastic/store/run-1/keys/k").first is not None
    assert (store.timeout, other_store.timeout) == (timedelta(seconds=7), timedelta(seconds=60))
    placed, placed_store = create_backend(
        parameters(single.endpoints, key_prefix="/mine/states/", store_prefix="/mine/store", ttl=60)
    )
    assert placed.get_state() is None
    written(placed.set_state(b"2"))
    assert client.range(b"/mine/states/run-1").first is not None
    assert placed_store.prefix == "/mine/store/run-1"


def test_the_runs_store_has_a_url(certificates: Certificates) -> None:
    """With which any program opens the same store; nothing is sent for it."""
    _, connection = open_backend(parameters("a,b:4", store_prefix="/my jobs"))
    assert connection.address in (
        "etcd://a:2379,b:4/my%20jobs/run-1",
        "etcd://b:4,a:2379/my%20jobs/run-1",
    )
    store = open_store(connection.address)
    assert isinstance(store, EtcdStore)
    assert store.prefix == connection.store.prefix == "/my jobs/run-1"
    _, connection = open_backend(
        parameters("a", ca_cert=certificates.ca, transport="gateway", ttl="9")
    )
    assert connection.address == (
        "etcds://a:2379/torch/elastic/store/run-1?"
        + urlencode({"ca_cert": certificates.ca, "transport": "gateway"})
    )
    _, connection = open_backend(parameters("a", store_prefix="no/slash"))
    assert connection.address == ""


def test_a_user_comes_from_the_environment_or_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Never from the configuration itself, which every list of processes shows."""
    monkeypatch.setenv("RENDEZVOUS_ETCD_USER", "trainer")
    monkeypatch.setenv("RENDEZVOUS_ETCD_PASSWORD", "of the environment")
    _, store = create_backend(parameters("h"))
    credentials = store._client._login._credentials
    assert credentials is not None
    assert (credentials.user, credentials.password) == ("trainer", "of the environment")
    (tmp_path / "password").write_text("of the file\n")
    _, store = create_backend(
        parameters("h", user="other", password_file=str(tmp_path / "password"))
    )
    credentials = store._client._login._credentials
    assert credentials is not None
    assert (credentials.user, credentials.password) == ("other", "of the file")
    with pytest.raises(ValueError, match="password_file"):
        create_backend(parameters("h", password_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("endpoint", "config", "what"),
    [
        ("h", {"protocol": "gopher"}, "protocol is 'gopher'"),
        ("http://h", {"protocol": "https"}, "endpoints use another scheme"),
        ("h", {"protocol": "http", "ca_cert": "/ca"}, "certificates are given"),
        ("h", {"ca_cert": "/no/such/file"}, "ca_cert '/no/such/file'"),
        ("h", {"read_timeout": "0"}, "read_timeout"),
        ("h", {"ttl": "-1"}, "ttl"),
        ("h,,i", {}, "empty one"),
        ("h:0", {}, "port 0"),
    ],
)
def test_bad_configuration_is_refused_by_name(
    endpoint: str, config: dict[str, Any], what: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=what):
        create_backend(parameters(endpoint, **config))


@pytest.mark.parametrize("name", ["etcd", "etcd-v3"])
def test_nodes_meet_by_the_registered_name(single: Cluster, name: str) -> None:
    """Two handlers form a round over etcd, share its store, and leave."""
    assert name in rendezvous_handler_registry._creators

    def node(store_value: str) -> tuple[int, int, bytes, bytes]:
        handler = get_rendezvous_handler(
            RendezvousParameters(
                name, single.endpoints, f"run of {name}", 2, 2, local_addr="127.0.0.1"
            )
        )
        assert handler.get_backend() == name
        info = handler.next_rendezvous()
        store: Any = info.store
        store.set(f"rank {info.rank}", store_value)
        values = store.multi_get(["rank 0", "rank 1"])
        handler.shutdown()
        return info.rank, info.world_size, values[0], values[1]

    nodes = [Background(node, value) for value in ("a", "b")]
    results = sorted(each.result() for each in nodes)
    assert [result[:2] for result in results] == [(0, 2), (1, 2)]
    assert results[0][2:] == results[1][2:]
