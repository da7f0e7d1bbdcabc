"""Stores at a Unix socket: for processes of one user on one machine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli

import rendezvous
import rendezvous.aio
from rendezvous import (
    Server,
    StoreAddressInUseError,
    StoreConnectionError,
    StoreRefusedError,
    StoreValueError,
    TCPStore,
    _core,
    open_store,
)

TIMEOUT_S = 60.0
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def path() -> Iterator[Path]:
    """Short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="rdzv-") as folder:
        yield Path(folder) / "socket"


def test_every_client_speaks_there(path: Path) -> None:
    """TCPStore in both protocols, open_store with a prefix, asyncio."""
    url = f"unix://{path}"
    with Server(url) as server:
        assert (server.host, server.port) == (url, 0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        store = TCPStore(url, 0, timeout=TIMEOUT_S)
        store.set("key", "value")
        assert TCPStore(url, 0, timeout=TIMEOUT_S, protocol="c10d").get("key") == b"value"
        assert store.observed_address == "localhost"
        open_store(f"{url}?prefix=of%20mine").set("key", "other")
        assert store.get("of mine/key") == b"other"

        async def main() -> None:
            async with rendezvous.aio.connect(url, TIMEOUT_S) as store:
                await store.set("large", b"x" * 20_000_000)
                assert len(await store.get("large")) == 20_000_000
                assert await store.get("key") == b"value"

        asyncio.run(main())
    assert not path.exists()


def test_a_master_and_a_job_meet_there(path: Path) -> None:
    """Whoever is first serves."""
    url = f"unix://{path}"
    with rendezvous.join(url, 1, "run") as world:
        assert world.handler.hosts_store
        assert world.address.startswith(url)
        open_store(world.address).set("key", "value")
        assert not rendezvous.open_store(url).check(["key"])
        assert world.master_addr == "localhost"
    master = TCPStore(url, 0, is_master=True, timeout=TIMEOUT_S)
    TCPStore(url, 0, timeout=TIMEOUT_S).set("key", "value")
    assert master.get("key") == b"value"
    master.close()


def test_the_file_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not(
    path: Path, cli: Cli
) -> None:
    """Killed, it leaves its file behind."""
    url = f"unix://{path}"
    dead = cli.start("serve", "--host", url)
    assert dead.line("listening on").endswith(url)
    with pytest.raises(StoreAddressInUseError, match="another server is there"):
        Server(url)
    dead.send(signal.SIGKILL)
    dead.end()
    assert path.exists()
    with pytest.raises(StoreConnectionError, match="nothing listens there"):
        TCPStore(url, 0, timeout=0.2)
    with Server(url), pytest.raises(StoreAddressInUseError):
        Server(url)
    assert not path.exists()


def test_of_many_that_begin_at_once_one_serves(path: Path) -> None:
    """At the file of one that has died: nobody removes the winner's."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    code = (
        "import sys, rendezvous\n"
        "sys.stdin.read()\n"
        "try:\n"
        "    server = rendezvous.Server(sys.argv[1])\n"
        "except rendezvous.StoreAddressInUseError:\n"
        "    print('other', flush=True)\n"
        "else:\n"
        "    print('serves', flush=True)\n"
        "    input() if sys.stdin.close() else __import__('signal').pause()\n"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"unix://{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    try:
        for each in starters:
            assert each.stdin is not None
            each.stdin.close()
        said = [each.stdout.readline().strip() for each in starters if each.stdout is not None]
        assert sorted(said) == ["other"] * 5 + ["serves"]
        TCPStore(f"unix://{path}", 0, timeout=TIMEOUT_S).set("key", "value")
    finally:
        for each in starters:
            each.kill()
            each.wait()
            assert each.stdout is not None
            each.stdout.close()


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    """A file there is somebody's."""
    path.write_text("mine")
    with pytest.raises(StoreConnectionError, match="not a socket"):
        Server(f"unix://{path}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("wrong", ["unix://relative", "unix:///", f"unix:///{'x' * 200}"])
def test_what_is_no_path_is_an_error_at_once(wrong: str) -> None:
    """Of server and client."""
    with pytest.raises(StoreValueError, match="Unix socket"):
        Server(wrong)
    with pytest.raises(StoreValueError, match="Unix socket"):
        TCPStore(wrong, 0, timeout=TIMEOUT_S)


def test_a_forked_child_leaves_the_file(path: Path) -> None:
    """It is the parent's."""
    with Server(f"unix://{path}") as server:
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert path.exists()
        TCPStore(f"unix://{path}", 0, timeout=TIMEOUT_S).set("key", "value")


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
def test_with_a_token_torchs_protocol_is_still_served(path: Path) -> None:
    """Whose process it is, the kernel says; natives prove that they have the token."""
    url = f"unix://{path}"
    with Server(url, token=TOKEN):
        TCPStore(url, 0, timeout=TIMEOUT_S, protocol="c10d").set("key", "value")
        assert TCPStore(url, 0, timeout=TIMEOUT_S, token=TOKEN).get("key") == b"value"
        with pytest.raises(StoreRefusedError, match="it wants a token"):
            TCPStore(url, 0, timeout=TIMEOUT_S, token="")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_process_of_another_user_is_refused_on_both_sides(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where the mode of the file lets it in."""
    path.parent.chmod(0o755)
    code = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as one:\n"
        "    one.connect(sys.argv[1])\n"
        "    try:\n"
        "        one.sendall(b'RDZV')\n"
        "        print(one.recv(1))\n"
        "    except OSError:\n"
        "        print(b'')\n"
    )
    with Server(f"unix://{path}"):
        path.chmod(0o666)
        done = subprocess.run(
            [sys.executable, "-S", "-c", code, str(path)],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    assert done.stdout.strip() == b"b''"
    assert "process of another user (uid 65534)" in caplog.text
    # And the reverse: a server of somebody else's.
    other = path.with_name("other")
    path.parent.chmod(0o777)
    listens = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "one = socket.socket(socket.AF_UNIX)\n"
        "one.bind(sys.argv[1])\n"
        "one.listen()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", listens, str(other)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as listener:
        assert listener.stdin is not None
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"ready\n"
        with pytest.raises(StoreRefusedError, match=r"another user \(uid 65534\)"):
            TCPStore(f"unix://{other}", 0, timeout=TIMEOUT_S)
        listener.stdin.close()


def test_commands_take_a_path(path: Path, cli: Cli) -> None:
    """serve, set, status."""
    url = f"unix://{path}"
    server = cli.start("serve", "--host", url)
    server.line("listening on")
    assert cli.run("set", "key", "value", "--endpoint", url).returncode == 0
    assert cli.run("get", "key", RENDEZVOUS_ENDPOINT=url).stdout.strip() == b"value"
    told = cli.run("status", "--endpoint", url)
    assert told.returncode == 0
    assert f"server at {url}: reachable".encode() in told.stdout
    server.send(signal.SIGTERM)
    assert server.end() == 0
    gone = cli.run("get", "key", "--endpoint", url)
    assert gone.returncode == 3
    assert b"nothing listens there" in gone.stderr
