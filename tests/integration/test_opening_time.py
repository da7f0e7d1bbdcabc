"""Whatever is opened takes no more time than it is given, whatever the other side does.

No upper limit here could be broken by a slow machine: what would block for long fails at the
backstop of Background.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from support.background import Background
from support.proxy import FaultProxy

from rendezvous import (
    FileStore,
    HashStore,
    PrefixStore,
    Store,
    StoreConnectionError,
    StoreTimeoutError,
    TCPStore,
    open_store,
)

Connect = Callable[..., TCPStore]
SHORT_S = 0.1
# Of the stores that are cloned: not what the clone may take.
LONG_S = 3600
# Takes the writer's lock as a process does that was stopped in the middle of a write.
HOLDS = """\
import fcntl, os, struct, sys
file = os.open(sys.argv[1], os.O_RDWR)
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 1 << 62, 1, 0)
fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A FileStore's file whose writer never lets go."""
    path = tmp_path / "store"
    user = FileStore(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    yield path
    holder.kill()
    holder.communicate()
    del user


def gives_up(call: Callable[[], object]) -> str:
    with pytest.raises((StoreTimeoutError, StoreConnectionError)) as caught:
        Background(call).result()
    return str(caught.value)


@pytest.mark.parametrize("query", ["protocol=native", "protocol=c10d", "prefix=p"])
def test_a_tcp_url_of_a_server_that_never_answers(proxy: FaultProxy, query: str) -> None:
    """It accepts, and says nothing."""
    proxy.freeze()
    url = f"tcp://127.0.0.1:{proxy.port}?{query}"
    assert "did not answer within 0.1 s" in gives_up(lambda: open_store(url, SHORT_S))
    assert "within 0.2 s" in gives_up(lambda: open_store(f"{url}&timeout=0.2"))


@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_a_tcp_url_of_nobody(free_port: int, protocol: str) -> None:
    """It is tried until the time is over."""
    url = f"tcp://127.0.0.1:{free_port}?protocol={protocol}"
    assert "within 0.1 s" in gives_up(lambda: open_store(url, SHORT_S))


def test_a_file_url_behind_a_stopped_writer(held: Path) -> None:
    """The error names what is waited for, and the time that it took."""
    for call in (
        lambda: open_store(f"file://{held}", SHORT_S),
        lambda: open_store(f"file://{held}?timeout=0.1"),
        lambda: open_store(f"file://{held}?prefix=p", SHORT_S),
        lambda: FileStore(held, timeout=SHORT_S),
    ):
        assert "opening FileStore" in (text := gives_up(call))
        assert "timeout after 0.1" in text


def test_an_etcd_url_of_a_member_that_never_answers() -> None:
    """Opening asks nobody; what is asked ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"etcd://127.0.0.1:{silent.getsockname()[1]}/p"
        store = Background(open_store, url, SHORT_S).result()
        gives_up(lambda: store.get("k"))


@pytest.mark.parametrize("protocol", ["native", "c10d"])
@pytest.mark.parametrize("around", [False, True], ids=["itself", "in a PrefixStore"])
def test_a_clone_of_a_tcp_store(
    connect: Connect, proxy: FaultProxy, protocol: str, around: bool
) -> None:
    """Its connection is made within the time of the clone, not of the store."""
    store: Store = connect(proxy.port, protocol=protocol, timeout=LONG_S)
    if around:
        store = PrefixStore("p", store)
    clone = store.clone(timeout=60)
    assert clone.timeout.total_seconds() == LONG_S
    clone.set("k", "v")
    proxy.freeze()
    assert "within 0.1 s" in gives_up(lambda: store.clone(timeout=SHORT_S))
    proxy.thaw()
    assert store.clone().get("k") == b"v"


def test_a_clone_of_a_file_store(tmp_path: Path) -> None:
    """Likewise, behind a stopped writer."""
    path = tmp_path / "other"
    store = FileStore(path, timeout=LONG_S)
    store.set("k", "v")
    assert store.clone(timeout=60).timeout.total_seconds() == LONG_S
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert "timeout after 0.1" in gives_up(lambda: store.clone(timeout=SHORT_S))
        holder.kill()
    assert store.clone().get("k") == b"v"


def test_a_clone_of_what_needs_no_opening() -> None:
    """The argument is taken by every store, and looked at."""
    store = HashStore()
    store.set("k", "v")
    assert store.clone(timeout=SHORT_S).get("k") == b"v"
    with pytest.raises(ValueError, match="negative"):
        store.clone(timeout=-1)


@pytest.mark.parametrize("protocol", ["native", "c10d"])
def test_the_wait_for_workers_is_part_of_the_time(protocol: Literal["native", "c10d"]) -> None:
    """Of the master, which is a client like any other."""
    text = gives_up(
        lambda: TCPStore("127.0.0.1", 0, 2, is_master=True, timeout=SHORT_S, protocol=protocol)
    )
    assert "1 of 2 workers connected within 0.1 s" in text
