"""A process that ends while daemon threads use stores ends well: a job that is done is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rendezvous import Server

PROGRAM = Path(__file__).with_name("exit_daemons.py")
RUNS = 8


def run(kind: str, where: object, cwd: Path) -> tuple[int, str]:
    """The exit code, and what it wrote."""
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), kind, str(where)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    "kind", ["python", "prefix-python", "hash", "prefix-hash", "file", "tcp", "c10d"]
)
def test_daemon_threads_in_calls_do_not_change_the_exit_code(
    kind: str, server: Server, tmp_path: Path
) -> None:
    """In any call, of stores in Python and compiled ones; every time."""
    where: object = server.port if kind in ("tcp", "c10d") else tmp_path / "store"
    for _ in range(RUNS):
        code, text = run(kind, where, tmp_path)
        assert code == 0, text[-2000:]


# Whole programs; each ends while something of ours is in the middle of calling Python, or is called
# by what Python takes apart.
PROGRAMS = {
    "a server that logs to a handler in Python": """
import logging, socket, threading, time, rendezvous
class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(0.005)
logging.getLogger("rendezvous").addHandler(Slow())
logging.getLogger("rendezvous").setLevel(logging.DEBUG)
server = rendezvous.Server()
begun = threading.Event()
def disturb():
    while True:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(b"no protocol at all\\r\\n\\r\\n")
            peer.recv(1)
        begun.set()
for _ in range(3):
    threading.Thread(target=disturb, daemon=True).start()
begun.wait()
""",
    "a store that is used while it is taken apart": """
import rendezvous
class Last(rendezvous.Store):
    def __init__(self):
        super().__init__()
        self.inner = rendezvous.HashStore()
        self.view = rendezvous.PrefixStore("p", self)
    def set(self, key, value):
        self.inner.set(key, value)
    def get(self, key, timeout=None):
        return self.inner.get(key, timeout)
    def __del__(self, missing=rendezvous.StoreTimeoutError):
        self.view.set("k", "v")
        assert self.view.get("k", 0) == b"v"
        try:
            self.inner.get("gone", 0)
        except missing as error:
            assert "gone" in str(error)
        print("taken apart", flush=True)
import builtins
builtins.kept = Last()
""",
    "stores at exit": """
import atexit, rendezvous
master = rendezvous.TCPStore("127.0.0.1", 0, is_master=True)
client = rendezvous.PrefixStore("p", rendezvous.TCPStore("127.0.0.1", master.port))
atexit.register(lambda: client.set("k", "v"))
class AtTheEnd:
    def __del__(self):
        client.set("k", "w")
        assert client.get("k") == b"w"
end = AtTheEnd()
""",
    "threads in a master that goes": """
import threading, rendezvous
master = rendezvous.TCPStore("127.0.0.1", 0, is_master=True)
begun = []
def use(call, begin):
    begin.set()
    while True:
        try:
            call()
        except Exception:
            pass
for call in (
    lambda: master.get("never", 300),
    lambda: master.clone().add("n", 1),
    lambda: master.set("k", b"v" * 100_000),
    lambda: rendezvous.TCPStore("127.0.0.1", master.port).barrier("b", 2, 0.01),
    lambda: rendezvous.Server().close(),
):
    begun.append(threading.Event())
    threading.Thread(target=use, args=(call, begun[-1]), daemon=True).start()
for each in begun:
    each.wait()
""",
    "a handler whose heartbeat is a daemon": """
import rendezvous
class Slow(rendezvous.Store):
    def __init__(self):
        super().__init__()
        self.inner = rendezvous.HashStore()
    def set(self, key, value): self.inner.set(key, value)
    def get(self, key, timeout=None): return self.inner.get(key, timeout)
    def add(self, key, amount): return self.inner.add(key, amount)
    def compare_set(self, key, old, new): return self.inner.compare_set(key, old, new)
    def check(self, keys): return self.inner.check(keys)
    def wait(self, keys, timeout=None): self.inner.wait(keys, timeout)
store = rendezvous.PrefixStore("p", Slow())
handler = rendezvous.DynamicRendezvousHandler.from_backend(
    "run", store, rendezvous.C10dRendezvousBackend(store, "run"), 1, 1,
    keep_alive_interval=0.001, local_addr="127.0.0.1",
)
handler.next_rendezvous()
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_done_ends_well(name: str, tmp_path: Path) -> None:
    """However its objects and threads end, its exit code is 0 and it complains of nothing."""
    for _ in range(RUNS):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAMS[name]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ("taken apart" in ended.stdout) == ("taken apart" in PROGRAMS[name])


def test_a_signal_that_ends_a_blocked_call_ends_the_process_well(tmp_path: Path) -> None:
    """SystemExit from its handler, while other threads are in calls too."""
    program = """
import os, signal, sys, threading, rendezvous
store = rendezvous.HashStore()
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
threading.Thread(target=store.wait, args=(["never"],), daemon=True).start()
threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1), daemon=True).start()
store.wait(["never"], 300)
"""
    for _ in range(RUNS):
        ended = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, timeout=300, check=False
        )
        assert ended.returncode == 7
