"""A server, or a process with one, that the system gives no more descriptors or threads."""

from __future__ import annotations

import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.background import BACKSTOP_S, Background
from support.cli import Cli, wait_for
from support.entry import gets_in
from support.proc import cpu_s
from support.process import PythonProcess
from support.wire import C10D_VALIDATE, RawPeer, c10d_ping, native_hello

from rendezvous import StoreConnectionError, TCPStore, _core

LIMIT_ERROR = 4  # ErrorCode::kLimit


class Serve(PythonProcess):
    """`rendezvous serve` under limits of open files: its port, and what it has logged."""

    def __init__(self, soft: int, hard: int, **env: str) -> None:
        super().__init__(
            "import resource, runpy, sys\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))\n"
            "sys.argv = ['rendezvous', 'serve', '--port', '0']\n"
            "runpy.run_module('rendezvous', run_name='__main__')\n",
            str(soft),
            str(hard),
            **env,
        )
        try:
            self.port = int(self.log("listening on").rpartition(":")[2])
        except BaseException:
            self.close()
            raise

    def log(self, part: str) -> str:
        """The first line on stderr with `part`, waited for."""
        return wait_for(part, lambda: next(iter(self.lines(part)), None))

    def lines(self, part: str) -> list[str]:
        return [line for line in self.stderr.splitlines() if part in line]


@pytest.fixture
def own_files() -> Iterator[None]:
    """Room for this test's own ends of many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("own_files")
def test_serve_takes_as_many_clients_as_the_hard_limit_allows() -> None:
    """It raises its soft limit when it starts, and says how many there is room for."""
    with Serve(64, 1000) as server, ExitStack() as clients:
        assert "limit of open files: 1000" in server.log("room for")
        for _ in range(200):
            peer = clients.enter_context(RawPeer(server.port, native_hello()))
            assert peer.receive_frame()[1] == 0


@pytest.mark.usefixtures("own_files")
def test_newcomers_beyond_the_limit_are_refused_in_words_and_the_log_says_it_once() -> None:
    """Nobody hangs without a word, nothing spins, and who leaves makes room."""
    with Serve(100, 100) as server, ExitStack() as clients:
        served: list[RawPeer] = []
        while True:
            peer = clients.enter_context(RawPeer(server.port, native_hello()))
            _, status, _, body = peer.receive_frame()
            if status != 0:
                break
            served.append(peer)
        assert status == LIMIT_ERROR
        assert b"no file descriptor left" in body
        assert peer.wait_closed() == b""
        server.log("new connections are refused")
        for _ in range(20):
            with RawPeer(server.port, native_hello()) as refused:
                assert refused.receive_frame()[1] == LIMIT_ERROR
        with RawPeer(server.port, C10D_VALIDATE + c10d_ping()) as refused:
            assert refused.wait_closed() == b""
        # One that says nothing holds the place of those who are refused, and costs nothing.
        before = cpu_s(server.pid)
        with RawPeer(server.port) as silent:
            assert silent.wait_closed() == b""
        assert cpu_s(server.pid) - before < 0.5
        assert len(server.lines("cannot accept")) == 1
        # The first clients are served all the while, and their places are given away.
        served.pop(0).close()

        def is_served() -> RawPeer | None:
            newcomer = clients.enter_context(RawPeer(server.port, native_hello()))
            return newcomer if newcomer.receive_frame()[1] == 0 else None

        wait_for("a place", is_served)
        assert len(server.lines("cannot accept")) == 1


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
@pytest.mark.usefixtures("own_files")
def test_clients_by_tls_beyond_the_limit_are_told_and_who_leaves_makes_room() -> None:
    """They are refused before they have said who they are; the others are served all the while."""
    token = "0123456789abcdef0123456789abcdef"
    with Serve(100, 100, RENDEZVOUS_TOKEN=token) as server, ExitStack() as clients:

        def come(timeout_s: float) -> TCPStore:
            store = TCPStore("127.0.0.1", server.port, timeout=timeout_s, token=token)
            return clients.enter_context(store)

        served: list[TCPStore] = []
        for _ in range(100):
            try:
                served.append(come(5.0))
            except StoreConnectionError as error:
                told = str(error)
                break
        else:
            raise AssertionError("nobody was refused")
        assert len(served) > 50
        assert "the server has no room for another connection" in told
        server.log("new connections are refused")
        for number, store in enumerate(served):
            assert store.add("served", 1) == number + 1
        # Strangers that end half way hold no place.
        for _ in range(50):
            with RawPeer(server.port, b"\x16\x03\x01") as stranger:
                stranger.socket.shutdown(socket.SHUT_WR)
                stranger.wait_closed()
        assert served[0].add("served", 1) == len(served) + 1
        waiting = Background(come, BACKSTOP_S).let_block()
        served.pop().close()
        assert waiting.result().add("served", 1) == len(served) + 3
        assert len(server.lines("cannot accept")) == 1


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
@pytest.mark.usefixtures("own_files")
def test_a_token_file_that_changes_while_there_is_no_descriptor_is_read_later(
    tmp_path: Path,
) -> None:
    """Strangers who hold all of them do not keep a token that was taken away alive."""
    old, new = "0" * 32, "1" * 32
    path, draft = tmp_path / "tokens", tmp_path / "draft"
    path.write_text(old)
    draft.write_text(new)

    with Serve(100, 100, RENDEZVOUS_TOKEN_FILE=str(path)) as server:
        with ExitStack() as strangers:
            held: list[RawPeer] = []

            def begin_handshake() -> None:
                held.append(strangers.enter_context(RawPeer(server.port, b"\x16")))

            while not server.lines("new connections are refused"):
                begin_handshake()
            draft.replace(path)

            def has_looked() -> bool:
                """It does for one that it takes in; the place is taken again."""
                leaving = held.pop(0)
                leaving.socket.shutdown(socket.SHUT_WR)
                leaving.wait_closed()
                begin_handshake()
                return bool(server.lines("cannot be read") or server.lines("was read again"))

            wait_for("the server to look", has_looked)
        wait_for("the new token", lambda: gets_in(server.port, token=new))
        assert not gets_in(server.port, token=old)
        assert len(server.lines("cannot be read")) <= 1


STARVED = """\
import logging, os, resource, sys
import rendezvous
from rendezvous import RendezvousError

kind, free = sys.argv[1], int(sys.argv[2])
def start():
    if kind == "server":
        return rendezvous.Server("127.0.0.1", 0)
    if kind == "name":
        return rendezvous.Server("localhost", 0)
    return rendezvous.TCPStore("127.0.0.1", 0, is_master=True, timeout=5)

start().close()  # loads what is loaded late
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
hogs = []
try:
    while True:
        hogs.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(free):
    os.close(hogs.pop())
try:
    start()
    said = "started"
except RendezvousError as error:
    said = f"{type(error).__name__}: {error}"
for hog in hogs:
    os.close(hog)
print(said, flush=True)
start().close()  # it works again
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["server", "master", "name"])
def test_a_server_without_descriptors_is_an_error_of_ours(kind: str) -> None:
    """Whatever it is that no descriptor is left for; the process lives on."""
    said = []
    for free in range(9):
        with PythonProcess(STARVED, kind, str(free)) as process:
            said.append(process.line())
            assert process.end() == 0, process.stderr
    assert said[0].startswith("Store")
    assert "ulimit" in said[0] or kind == "name", said
    assert said[-1] == "started"
    assert all(line == "started" or line.startswith("Store") for line in said), said


THREADLESS = """\
import os, resource, sys
import rendezvous
from rendezvous import RendezvousError, RendezvousParameters
import rendezvous.errors, rendezvous._base.log, rendezvous.handler.registry
import socket, encodings.idna

kind, port = sys.argv[1], int(sys.argv[2])
store = rendezvous.TCPStore("127.0.0.1", port, timeout=20)
handler = rendezvous.get_rendezvous_handler(RendezvousParameters(
    "c10d", f"127.0.0.1:{port}", "run", 1, 1, is_host="false"))
calls = {
    "server": lambda: rendezvous.Server("127.0.0.1", 0),
    "master": lambda: rendezvous.TCPStore("127.0.0.1", 0, is_master=True, timeout=5),
    "name": lambda: rendezvous.TCPStore("localhost", port, timeout=1),
    "handler": lambda: handler.next_rendezvous(),
}
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    calls[kind]()
    print("started", flush=True)
except RendezvousError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of threads is Linux's")
@pytest.mark.parametrize("kind", ["server", "master", "name", "handler"])
def test_a_thread_that_cannot_start_is_an_error_of_ours(cli: Cli, kind: str) -> None:
    """No plain RuntimeError, and no process that ends."""
    _, endpoint = cli.serve()
    with PythonProcess(THREADLESS, kind, endpoint.rpartition(":")[2]) as process:
        line = process.line()
        assert process.end() == 0, process.stderr
    assert line.startswith(("Store", "Rendezvous")), line
    assert "thread" in line


def test_a_stopped_listener_queue_is_served_when_the_server_goes_on(cli: Cli) -> None:
    """Clients that connect while the server is stopped are answered when it is not."""
    server, endpoint = cli.serve()
    server.send(signal.SIGSTOP)
    with ExitStack() as peers:
        port = int(endpoint.rpartition(":")[2])
        waiting = [peers.enter_context(RawPeer(port, native_hello())) for _ in range(50)]
        server.send(signal.SIGCONT)
        for peer in waiting:
            assert peer.receive_frame()[1] == 0
            assert peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
