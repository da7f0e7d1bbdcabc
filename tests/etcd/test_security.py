"""TLS, client certificates, users and roles, on a real etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.etcd import PASSWORD, USER, Certificates, Cluster

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend
from rendezvous.backends.etcd.transport import TlsFiles
from rendezvous.backends.etcd.transport.errors import (
    EtcdConnectionError,
    EtcdRequestError,
    EtcdTimeoutError,
)
from rendezvous.errors import RendezvousConnectionError, StoreError


@pytest.fixture(scope="module")
def secure(binary: str, certificates: Certificates) -> Iterator[Cluster]:
    """TLS, and nobody without a certificate."""
    with Cluster(binary, certificates=certificates, client_certificates=True) as cluster:
        yield cluster


@pytest.fixture
def named(binary: str, tmp_path: Path) -> Iterator[Cluster]:
    """Users whose certificates name them."""
    certificates = Certificates.make(tmp_path, common_name=USER)
    with Cluster(binary, certificates=certificates, client_certificates=True) as cluster:
        cluster.enable_users()
        yield cluster


@pytest.fixture
def guarded(binary: str) -> Iterator[Cluster]:
    """Users and roles; tokens that are not used for a second are forgotten."""
    with Cluster(binary, arguments=["--auth-token-ttl=1"]) as cluster:
        cluster.enable_users()
        yield cluster


def let_tokens_end() -> None:
    """Those of `guarded`. A look whether one has ended would make it live on."""
    time.sleep(3)


def test_tls_and_client_certificates(secure: Cluster, transport: str) -> None:
    """With the authority's and the client's files all goes on as without; watches too."""
    client = secure.client(transport=transport)
    revision = client.put(b"k", b"v" * 200_000)
    assert client.range(b"k").kvs[0].value == b"v" * 200_000
    with client.watch([(b"k", b"")], revision) as watch:
        assert [event.kv.value for event in watch.next(Deadline.after(60))] == [b"v" * 200_000]
        assert watch.next(Deadline.after(0.05)) == []
    client.close()


# For a busy machine to get as far as the reason.
FAILS_WITHIN_S = 4.0


def failure(cluster: Cluster, **options: Any) -> StoreError:
    endpoints = options.pop("endpoints", cluster.endpoints)
    client = EtcdClient(endpoints, **options)
    with pytest.raises(StoreError) as caught:
        client.put(b"k", b"v", deadline=Deadline.after(FAILS_WITHIN_S))
    client.close()
    return caught.value


def test_an_authority_that_is_not_known_is_refused(secure: Cluster, transport: str) -> None:
    """The error says which setting makes it known; the request never left."""
    error = failure(secure, transport=transport, tls=TlsFiles())
    assert isinstance(error, (EtcdTimeoutError, EtcdConnectionError))
    assert "ca_cert" in str(error)
    assert not error.ambiguous


def test_a_host_that_the_certificate_does_not_name_is_refused(
    secure: Cluster, certificates: Certificates, transport: str
) -> None:
    """The authority alone is not enough."""
    error = failure(
        secure,
        endpoints=f"https://127.0.0.2:{secure.members[0].port}",
        tls=TlsFiles(certificates.ca, certificates.client),
    )
    # The member listens on 127.0.0.1 alone, or, where it answers, has no such name.
    assert "refused" in str(error) or "certificate was rejected" in str(error)


def test_a_missing_client_certificate_is_told(
    secure: Cluster, certificates: Certificates, transport: str
) -> None:
    """The error says which settings give one."""
    error = failure(secure, transport=transport, tls=TlsFiles(certificates.ca))
    assert "ssl_cert" in str(error)


def test_no_tls_where_tls_is_spoken_is_told(secure: Cluster, transport: str) -> None:
    """The error says how to switch it on."""
    error = failure(secure, transport=transport, endpoints=f"127.0.0.1:{secure.members[0].port}")
    assert "protocol=https" in str(error)


def test_tls_where_none_is_spoken_is_told(single: Cluster, transport: str) -> None:
    """The other way round."""
    error = failure(
        single, transport=transport, endpoints=f"https://127.0.0.1:{single.members[0].port}"
    )
    assert "TLS failed" in str(error)


def test_files_that_are_no_certificates_are_refused_by_name(certificates: Certificates) -> None:
    """When the client is made, before anything is sent."""
    with pytest.raises(ValueError, match=r"ca_cert '/nowhere/ca\.pem'"):
        EtcdClient("https://h", tls=TlsFiles("/nowhere/ca.pem"))
    with pytest.raises(ValueError, match=r"certificate .*ca\.pem"):
        EtcdClient("https://h", tls=TlsFiles(certificates.ca, certificates.ca))
    with pytest.raises(ValueError, match="ssl_cert_key is given without ssl_cert"):
        EtcdClient("https://h", tls=TlsFiles(certificates.ca, key=certificates.client))


def test_a_user_may_what_the_role_grants_and_no_more(guarded: Cluster, transport: str) -> None:
    """Reading, writing and watching inside the prefix; outside all are refused with code 7."""
    client = guarded.client(user=USER, password=PASSWORD, transport=transport)
    revision = client.put(b"jobs/k", b"v")
    with client.watch([(b"jobs/", b"jobs0")], revision) as watch:
        assert [event.kv.key for event in watch.next(Deadline.after(60))] == [b"jobs/k"]
    for call in (
        lambda: client.put(b"other", b"v"),
        lambda: client.range(b"jobs", b"jobs0"),
        lambda: client.watch([(b"other", b"")], revision).next(Deadline.after(60)),
    ):
        with pytest.raises(EtcdRequestError, match="permission") as caught:
            call()
        assert caught.value.code == 7
    client.close()


def test_a_certificate_may_name_the_user(named: Cluster) -> None:
    """Its common name is the user's, who needs no password then. The gateway cannot hand it on."""
    client = named.client()
    revision = client.put(b"jobs/k", b"v")
    with client.watch([(b"jobs/", b"jobs0")], revision) as watch:
        assert [event.kv.key for event in watch.next(Deadline.after(60))] == [b"jobs/k"]
    with pytest.raises(EtcdRequestError, match="permission denied"):
        client.put(b"other", b"v")
    client.close()
    error = failure(named, tls=named.tls, transport="gateway")
    assert "use transport=grpc" in str(error)


def test_a_token_that_was_forgotten_is_renewed(guarded: Cluster, transport: str) -> None:
    """By idleness, and by a restart of the member that gave it; calls and watches go on."""
    client = guarded.client(user=USER, password=PASSWORD, transport=transport)
    client.put(b"jobs/k", b"1")
    first = client._login._token
    client._login._token = "what.nobody.gave"
    client.put(b"jobs/k", b"2")
    assert client._login._token not in (None, first)
    client._login._token = "what.nobody.gave"
    with client.watch([(b"jobs/k", b"")], 1) as watch:
        assert watch.next(Deadline.after(60))
    member = guarded.members[0]
    member.kill()
    member.start()
    assert client.range(b"jobs/k", deadline=Deadline.after(60)).kvs[0].value == b"2"
    client.close()


def test_a_token_that_was_not_used_for_long_is_renewed(guarded: Cluster, transport: str) -> None:
    """The cluster forgets it after its time, here a second; nobody notices."""
    client = guarded.client(user=USER, password=PASSWORD, transport=transport)
    client.put(b"jobs/k", b"1")
    first = client._login._token
    let_tokens_end()
    client.put(b"jobs/k", b"2")
    assert client._login._token != first
    client.close()


def test_a_wrong_password_is_an_error_at_once(guarded: Cluster, transport: str) -> None:
    """Nobody waits for it to become right; the error does not show it."""
    client = guarded.client(user=USER, password="guess", transport=transport)
    with pytest.raises(EtcdRequestError, match="check the user's name and password") as caught:
        client.range(b"jobs/k", deadline=Deadline.after(60))
    assert "guess" not in str(caught.value)
    assert "guess" not in repr(client._login._credentials)


def test_the_backend_outlives_its_token(guarded: Cluster, transport: str) -> None:
    """Its writers see each other's states across tokens that are forgotten."""
    client = guarded.client(user=USER, password=PASSWORD, transport=transport)
    backend = EtcdRendezvousBackend(client, "run", "jobs", 60)
    answer = backend.set_state(b"before")
    assert answer is not None
    first = client._login._token
    let_tokens_end()
    after = backend.set_state(b"after", answer[1])
    assert after is not None
    assert after[2]
    assert client._login._token != first
    found = backend.get_state()
    assert found is not None
    assert found[0] == b"after"
    client.close()


def test_a_wrong_password_ends_the_backend_at_once(guarded: Cluster, transport: str) -> None:
    """As the rendezvous' own error, with what the cluster said."""
    client = guarded.client(user=USER, password="guess", transport=transport)
    backend = EtcdRendezvousBackend(client, "run", "jobs", 60)
    for act in (backend.get_state, lambda: backend.set_state(b"state")):
        with pytest.raises(RendezvousConnectionError, match="user's name and password") as caught:
            act()
        assert "guess" not in str(caught.value)
        assert isinstance(caught.value.__cause__, EtcdRequestError)
    client.close()


def test_no_user_where_one_is_needed_is_told(guarded: Cluster, transport: str) -> None:
    """The error names the variables that give one."""
    client = guarded.client(transport=transport)
    with pytest.raises(EtcdRequestError, match="RENDEZVOUS_ETCD_USER"):
        client.range(b"jobs/k", deadline=Deadline.after(60))
    with pytest.raises(EtcdRequestError, match="refused"):
        client.watch([(b"jobs/k", b"")], 1).next(Deadline.after(60))


def test_a_user_where_none_is_asked_for_is_let_in(single: Cluster, transport: str) -> None:
    """So that a cluster's authentication can be switched on later."""
    client = single.client(user=USER, password=PASSWORD, transport=transport)
    client.put(b"k", b"v")
    assert client.range(b"k").kvs[0].value == b"v"
    client.close()


def test_a_user_without_password_is_refused() -> None:
    """Half of a login is a mistake."""
    with pytest.raises(ValueError, match="a user needs a password"):
        EtcdClient("h", user="u")


def test_a_gateway_that_is_off_is_told(binary: str) -> None:
    """The error names etcd's settings that switch it off or move it. gRPC does without it."""
    with Cluster(binary, arguments=["--enable-grpc-gateway=false"]) as cluster:
        client = cluster.client()
        client.put(b"k", b"v")
        client.close()
        error = failure(cluster, transport="gateway")
        assert "--enable-grpc-gateway is off" in str(error)
        assert not getattr(error, "ambiguous")  # noqa: B009  (both kinds have it)


def test_a_transport_that_does_not_exist_is_refused() -> None:
    """With the names of those that do."""
    with pytest.raises(ValueError, match="transport is 'http'; use 'grpc', or 'gateway'"):
        EtcdClient("h", transport="http")


def test_v2_beside_v3_changes_nothing(binary: str, transport: str) -> None:
    """Clusters that still serve etcd's old API serve the new one as well."""
    with Cluster(binary, v2=True) as cluster:
        client = cluster.client(transport=transport)
        client.put(b"k", b"v")
        assert client.range(b"k").kvs[0].value == b"v"
        client.close()
