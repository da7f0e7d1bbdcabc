"""Stores and processes: Ctrl-C, signals, forks, and the interpreter's end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from support import peers
from support.peers import FakePeer
from support.process import PythonProcess, ServerProcess

from rendezvous import Server, TCPStore

Connect = Callable[..., TCPStore]

# One line on stdout when it is about to block; the call in {call} then blocks for ten minutes.
BLOCKS = """\
import sys, threading
from rendezvous import HashStore, PrefixStore, TCPStore
port = int(sys.argv[1])
{setup}
try:
    print("ready", flush=True)
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
{after}
print("done", flush=True)
"""
TCP = "store = TCPStore('127.0.0.1', port, timeout=600)"
USES = "store.set_timeout(60); store.set('k', 'v'); assert store.get('k') == b'v'"
# Another thread reads the connection, or waits to.
COMPANY = """
threading.Thread(target=store.get, args=("never",), daemon=True).start()
while not store.check([]): pass
"""


def interrupt(process: PythonProcess) -> None:
    """Ctrl-C once it blocks, of which there is no sign; earlier, the test only tests less."""
    assert process.line() == "ready"
    time.sleep(0.1)
    process.signal(signal.SIGINT)
    assert process.line() == "interrupted"
    assert process.line() == "done"
    assert process.end() == 0


@pytest.mark.parametrize(
    ("setup", "call"),
    [
        (TCP, "store.get('never')"),
        (TCP, "store.wait(['never', 'ever'])"),
        (TCP, "store.multi_get(['never'])"),
        (TCP, "PrefixStore('p', store).get('never')"),
        (TCP + COMPANY, "store.get('never')"),
        ("store = HashStore(); store.set_timeout(600)", "store.get('never')"),
        ("store = HashStore()", "store.wait(['never'], 600)"),
    ],
)
def test_ctrl_c_ends_a_blocked_call(server: Server, setup: str, call: str) -> None:
    """KeyboardInterrupt is raised at once, and the store can be used on."""
    code = BLOCKS.format(setup=setup, call=call, after=USES)
    with PythonProcess(code, str(server.port)) as process:
        interrupt(process)


def test_ctrl_c_ends_waiting_for_a_server(free_port: int) -> None:
    """So does it while a client tries to connect."""
    code = BLOCKS.format(setup="", call=TCP, after="")
    with PythonProcess(code, str(free_port)) as process:
        interrupt(process)


def test_ctrl_c_ends_waiting_for_a_silent_peer() -> None:
    """So does it while a client waits for the first answer of its peer."""
    with FakePeer(peers.silent) as peer:
        code = BLOCKS.format(setup="", call=TCP, after="")
        with PythonProcess(code, str(peer.port)) as process:
            interrupt(process)


def test_ctrl_c_ends_waiting_for_workers(free_port: int) -> None:
    """So does it while a master waits for its workers; the port is free afterwards."""
    call = "TCPStore('127.0.0.1', port, 2, True, timeout=600)"
    after = "TCPStore('127.0.0.1', port, is_master=True).ping()"
    code = BLOCKS.format(setup="", call=call, after=after)
    with PythonProcess(code, str(free_port)) as process:
        interrupt(process)


@pytest.mark.parametrize("call", ["store.add('n', 1)", "store.set('big', b'v' * (32 << 20))"])
def test_ctrl_c_ends_a_call_on_a_stopped_server(call: str) -> None:
    """So does it while a server does not answer, or does not even read."""
    with ServerProcess() as stopped:
        code = BLOCKS.format(setup=TCP, call=call, after="")
        setup = TCP + "\nprint('connected', flush=True)\nsys.stdin.readline()"
        code = BLOCKS.format(setup=setup, call=call, after="sys.stdin.readline()\n" + USES)
        with PythonProcess(code, str(stopped.port)) as process:
            assert process.line() == "connected"
            stopped.pause()
            process.say("")
            assert process.line() == "ready"
            time.sleep(0.1)
            process.signal(signal.SIGINT)
            assert process.line() == "interrupted"
            stopped.resume()
            process.say("")
            assert process.line() == "done"
            assert process.end() == 0


def test_signal_handlers_run_while_a_call_blocks(server: Server, connect: Connect) -> None:
    """A handler that raises nothing runs, and the call goes on."""
    code = """\
import os, signal, sys
from rendezvous import TCPStore
# Not by print: the handler may run while the main program prints.
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled\\n"))
store = TCPStore("127.0.0.1", int(sys.argv[1]), timeout=600)
print("ready", flush=True)
print(store.get("k").decode(), flush=True)
"""
    with PythonProcess(code, str(server.port)) as process:
        assert process.line() == "ready"
        for _ in range(3):
            process.signal(signal.SIGUSR1)
            assert process.line() == "handled"
        connect().set("k", "value")
        assert process.line() == "value"
        assert process.end() == 0


def test_handlers_exception_ends_the_call(server: Server) -> None:
    """Whatever a handler raises comes out of the call."""
    code = """\
import signal, sys
from rendezvous import TCPStore
class Stop(Exception): pass
def stop(*_): raise Stop("told to")
signal.signal(signal.SIGTERM, stop)
store = TCPStore("127.0.0.1", int(sys.argv[1]), timeout=600)
try:
    print("ready", flush=True)
    store.get("never")
except Stop as error:
    print(error, flush=True)
store.set("k", "v")
"""
    with PythonProcess(code, str(server.port)) as process:
        assert process.line() == "ready"
        process.signal(signal.SIGTERM)
        assert process.line() == "told to"
        assert process.end() == 0


FORKS = """\
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from rendezvous import HashStore, PrefixStore, Server, StoreClosedError, TCPStore

server = Server()
store = TCPStore("127.0.0.1", server.port, timeout=600)
master = TCPStore("127.0.0.1", 0, is_master=True, timeout=600)
blocked = threading.Thread(target=store.get, args=("later",))
blocked.start()
store.set("k", "v")

child = os.fork()
if child == 0:
    for call in (
        lambda: store.get("k"), lambda: store.set("k", "child"), lambda: store.add("n", 1),
        lambda: store.check(["k"]), lambda: master.wait(["k"]), lambda: store.ping(),
        lambda: PrefixStore("p", store).get("k"), lambda: master.set("k", "child"),
    ):
        try:
            call()
        except StoreClosedError as error:
            assert f"created by process {os.getppid()}" in str(error), error
        else:
            sys.exit(3)
    own = TCPStore("127.0.0.1", server.port, timeout=60)
    assert own.get("k") == b"v"
    own.set("from child", "yes")
    with Server() as new:
        TCPStore("127.0.0.1", new.port, timeout=60).ping()
    {end}
    sys.exit(0)

_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
assert store.get("from child") == b"yes"
assert store.get("k") == b"v"
master.set("k", "w")
store.set("later", "")
blocked.join()
print("parent goes on", flush=True)
"""


@pytest.mark.parametrize(
    "end", ["", "server.close(); store.close(); master.close()", "del server, store, master"]
)
def test_forked_child_cannot_use_its_parents_stores(end: str) -> None:
    """A child is told to make its own; neither its use nor its end disturbs the parent."""
    with PythonProcess(FORKS.replace("{end}", end)) as process:
        assert process.line() == "0"
        assert process.line() == "parent goes on"
        assert process.end() == 0, process.stderr


def test_forked_childs_main_thread_is_interrupted() -> None:
    """Ctrl-C also works in a child that was forked by a thread."""
    code = """\
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from rendezvous import HashStore
def fork():
    global child
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            print("ready", flush=True)
            HashStore().get("never", 600)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
        os._exit(3)
signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
thread = threading.Thread(target=fork)
thread.start()
thread.join()
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    with PythonProcess(code) as process:
        assert process.line() == "ready"
        time.sleep(0.1)
        process.signal(signal.SIGINT)
        assert process.line() == "interrupted"
        assert process.end() == 0


DAEMONS = """\
import sys, threading, time
from rendezvous import HashStore, TCPStore
master = TCPStore("127.0.0.1", 0, is_master=True, timeout=600)
client = TCPStore("127.0.0.1", master.port, timeout=600)
table = HashStore()

def repeat(call):
    while True:
        try:
            call()
        except TimeoutError:
            pass

for store in (master, client, table):
    for call in (
        lambda store=store: store.get("never", 600),
        lambda store=store: store.get("never", 0.002),
        lambda store=store: store.add("n", 1),
    ):
        threading.Thread(target=repeat, args=(call,), daemon=True).start()
while client.add("n", 0) < 10:
    pass
time.sleep(0.06)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_interpreter_ends_while_daemon_threads_use_stores(attempt: int) -> None:
    """Threads that block in stores, or use them all the time, neither hold up the end nor crash."""
    with PythonProcess(DAEMONS) as process:
        assert process.end() == 0, process.stderr


def test_interpreter_ends_with_everything_open() -> None:
    """Nobody has to close stores and servers."""
    code = """\
from rendezvous import Server, TCPStore
server = Server()
stores = [TCPStore("127.0.0.1", server.port) for _ in range(3)]
cycle = [server, *stores]
cycle.append(cycle)
print("ready", flush=True)
"""
    with PythonProcess(code) as process:
        assert process.line() == "ready"
        assert process.end() == 0, process.stderr
