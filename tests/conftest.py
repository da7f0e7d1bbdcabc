"""Fixtures that several test files share."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.aio import HAS_UVLOOP, LOOPS, BlockingFace, LoopThread, RunAio, others, run_on
from support.certificates import Site, site_in
from support.cli import Cli, cli_in
from support.etcd import NO_ETCD, binaries
from support.etcd_kinds import CLUSTER_KINDS, Access, SharedClusters, be_patient
from support.foreign import DerivedStore, DuckStore
from support.proxy import FaultProxy
from support.stores import Stores
from support.torch_server import TorchServers, has_torch

import rendezvous.aio
from rendezvous import FileStore, HashStore, PrefixStore, Server, Store, TCPStore, _core
from rendezvous.backends.etcd import EtcdServer, EtcdStore

# Started in the background by a shell, all that follows would ignore Ctrl-C, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is not about who may speak need not prove anything; and no token of whoever runs the tests
# changes what they do.
os.environ.setdefault("RENDEZVOUS_INSECURE", "1")
os.environ["XDG_CONFIG_HOME"] = os.devnull

# The client's default timeout in tests: only a hang takes so long.
TIMEOUT_S = 60.0
TOKEN = "0123456789abcdef0123456789abcdef"
STORE_KINDS = [
    "hash",
    "tcp",
    "tcp-c10d",
    "file",
    "prefix-hash",
    "prefix-tcp",
    "prefix-tcp-c10d",
    "prefix-file",
    "etcd",
    "prefix-etcd",
    *CLUSTER_KINDS,
    # Stores that are Python objects: derived from ours, and with what torch's have.
    "prefix-derived",
    "prefix-duck",
    # asyncio's, with its own loop and with uvloop's.
    "aio-tcp",
    "aio-prefix-tcp",
    "uvloop-tcp",
    # The same where the server asks for a token.
    "tcp-token",
    "aio-tcp-token",
    "uvloop-tcp-token",
    # With certificates on both sides, and at a Unix socket.
    "tcp-tls",
    "aio-tcp-tls",
    "uvloop-tcp-tls",
    "tcp-unix",
    "aio-tcp-unix",
]
if has_torch():
    # Our client with servers of torch's own, with libuv and without. `nox -s interop` runs them.
    STORE_KINDS += ["torch-libuv", "torch-old"]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """Runs the command `rendezvous` in a folder of the test's own."""
    with cli_in(tmp_path) as cli:
        yield cli


@pytest.fixture
def free_port() -> int:
    """A port that is free now, for a server that is started later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on 127.0.0.1."""
    with Server() as server:
        yield server


@pytest.fixture
def unix_server() -> Iterator[Server]:
    """A server at a Unix socket, whose path has to be short."""
    with (
        tempfile.TemporaryDirectory(prefix="rdzv-") as folder,
        Server(f"unix://{folder}/socket") as server,
    ):
        yield server


@pytest.fixture(params=["open", "token"])
def open_and_with_token(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What users copy runs where nothing is asked, and where a token is."""
    if request.param == "open":
        return
    if not _core.tls_library():
        pytest.skip("this build has no TLS")
    path = tmp_path_factory.mktemp("secret") / "token"
    path.write_text(TOKEN)
    monkeypatch.setenv("RENDEZVOUS_TOKEN_FILE", str(path))
    monkeypatch.delenv("RENDEZVOUS_INSECURE")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An authority, and in `node.pem` and `node.key` a certificate for this machine."""
    site = site_in(tmp_path_factory.mktemp("site"))
    site.issue("node", "127.0.0.1", "localhost")
    return site


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., TCPStore]]:
    """connect(port=the server's, **options): a client, closed at the end of the test."""
    with ExitStack() as stack:

        def make(port: int | None = None, host: str = "127.0.0.1", **options: Any) -> TCPStore:
            if port is None:
                port = request.getfixturevalue("server").port
            store = TCPStore(host, port, **{"timeout": TIMEOUT_S, **options})
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    """A faulty network in front of the server."""
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture(params=LOOPS)
def run_aio(request: pytest.FixtureRequest, server: Server) -> RunAio:
    """run_aio(body, port=the server's, timeout=60): runs body(store) on each kind of loop."""

    def go(
        body: Callable[[rendezvous.aio.TCPStore], Awaitable[None]],
        port: int | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        async def main() -> None:
            url = f"tcp://127.0.0.1:{port or server.port}"
            async with rendezvous.aio.connect(url, timeout) as store:
                assert isinstance(store, rendezvous.aio.TCPStore)
                await body(store)
            assert others() == set()

        run_on(request.param, main())

    return go


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """What a command sets up in this process is gone after the test."""
    loggers = [logging.getLogger(f"rendezvous{each}") for each in ("", ".events", ".server")]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    """An event loop of asyncio's, in a thread."""
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def uvloop_thread() -> Iterator[LoopThread]:
    """The same with uvloop."""
    if not HAS_UVLOOP:
        pytest.skip("uvloop is not installed")
    thread = LoopThread("uvloop")
    yield thread
    thread.close()


@pytest.fixture
def blocking_faces() -> Iterator[list[BlockingFace]]:
    """Closed at the end of the test."""
    faces: list[BlockingFace] = []
    yield faces
    for face in faces:
        face.close()


@pytest.fixture(scope="session")
def etcd_endpoint() -> Iterator[str]:
    """An etcd for all tests that need no more; each has a prefix of its own."""
    if not binaries():
        pytest.skip(NO_ETCD)
    with EtcdServer() as server:
        yield server.get_endpoint()


@pytest.fixture(scope="session")
def shared_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedClusters]:
    """Clusters that all workers of this test run use."""
    base = tmp_path_factory.getbasetemp()
    # Below it, each worker has a folder of its own.
    clusters = SharedClusters(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    yield clusters
    clusters.close()


@pytest.fixture(scope="session")
def etcd_access(request: pytest.FixtureRequest) -> Callable[[str], Access]:
    """etcd_access(kind): how to get into a cluster, of "etcd", which is plain, or CLUSTER_KINDS."""

    def access(kind: str) -> Access:
        if kind == "etcd":
            return Access(request.getfixturevalue("etcd_endpoint"))
        clusters: SharedClusters = request.getfixturevalue("shared_clusters")
        return clusters.access(kind)

    return access


@pytest.fixture(scope="session")
def torch_servers() -> Iterator[TorchServers]:
    """Starts servers of torch's, where torch is installed."""
    with TorchServers() as servers:
        yield servers


@pytest.fixture
def set_credentials(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """set_credentials(kind): of a kind of store; where server and clients find them."""

    def set_them(kind: str) -> None:
        found: dict[str, str] = {}
        if kind.endswith("-token"):
            found = {"RENDEZVOUS_TOKEN": TOKEN}
        elif kind.endswith("-tls"):
            folder = request.getfixturevalue("site").folder
            files = {"CERT": "node.pem", "KEY": "node.key", "CA": "ca.pem"}
            found = {f"RENDEZVOUS_TLS_{name}": str(folder / file) for name, file in files.items()}
        for name, value in found.items():
            monkeypatch.setenv(name, value)

    return set_them


def _place(request: pytest.FixtureRequest, kind: str) -> tuple[str, int]:
    """Host and port of a server for it."""
    if kind.endswith("unix"):
        return request.getfixturevalue("unix_server").host, 0
    if kind.startswith("torch"):
        return "127.0.0.1", request.getfixturevalue("torch_servers").start(kind == "torch-libuv")
    return "127.0.0.1", request.getfixturevalue("server").port


@pytest.fixture(params=STORE_KINDS)
def stores(request: pytest.FixtureRequest) -> Stores:
    """Every kind of store, empty."""
    kind: str = request.param
    request.getfixturevalue("set_credentials")(kind)
    if kind.endswith("hash"):
        shared = HashStore()

        def base() -> Store:
            return shared
    elif kind.endswith("file"):
        path = request.getfixturevalue("tmp_path") / "store"
        # Held to the end of the test, as the store ends with its last user.
        users: list[FileStore] = []

        def base() -> Store:
            users.append(FileStore(path))
            return users[-1]
    elif kind.removeprefix("prefix-") in ("etcd", *CLUSTER_KINDS):
        access = request.getfixturevalue("etcd_access")(kind.removeprefix("prefix-"))
        prefix = f"{access.prefix}{uuid.uuid4()}"
        be_patient(request.getfixturevalue("monkeypatch"))

        def base() -> Store:
            return EtcdStore(access.client(), prefix, TIMEOUT_S)
    elif kind.startswith(("aio", "uvloop")):
        thread = request.getfixturevalue("uvloop_thread" if "uv" in kind else "loop_thread")
        host, port = _place(request, kind)
        at = host if port == 0 else f"tcp://{host}:{port}"
        if "prefix" in kind:
            at += "/outer?prefix=inner"
        faces: list[BlockingFace] = request.getfixturevalue("blocking_faces")

        def base() -> Store:
            faces.append(BlockingFace.connect(thread, at, TIMEOUT_S))
            return faces[-1]
    elif kind.endswith(("derived", "duck")):
        # A DuckStore is no Store; PrefixStore takes it for one.
        foreign: Any = DuckStore(HashStore())
        if kind.endswith("derived"):
            foreign = DerivedStore(HashStore())

        def base() -> Store:
            store: Store = foreign
            return store
    else:
        connect = request.getfixturevalue("connect")
        protocol = "c10d" if kind.startswith("torch") or kind.endswith("c10d") else "native"
        host, port = _place(request, kind)

        def base() -> Store:
            store: TCPStore = connect(port, host, protocol=protocol)
            return store

    if kind.startswith("prefix"):
        return Stores(kind, lambda: PrefixStore("outer", PrefixStore("inner", base())))
    return Stores(kind, base)


@pytest.fixture
def store(stores: Stores) -> Store:
    """One client of every kind of store."""
    return stores.client()
