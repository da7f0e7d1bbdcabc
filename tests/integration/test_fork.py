"""What a forked child does not get: the sockets of its parent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.process import PythonProcess

from rendezvous import Server, StoreConnectionError, TCPStore

# The parent serves and is a client of the test's server; the child lives on until its stdin ends.
PARENT = """\
import os, sys
from rendezvous import Server, TCPStore
server = Server()
client = TCPStore("127.0.0.1", int(sys.argv[1]), timeout=60)
own = TCPStore("127.0.0.1", server.port, timeout=60)
child = os.fork()
if child == 0:
    {child}
    sys.stdin.read()
    os._exit(0)
print(server.port, flush=True)
print(child, flush=True)
sys.stdin.read()
"""
CHILDREN = {
    "idle": "pass",
    "without its parent's objects": "del server, client, own",
    # Numbers of the parent's sockets must not be closed with the objects that knew them.
    "with files of its own": """\
files = [open("/dev/null") for _ in range(20)]
    del server, client, own
    for file in files: os.fstat(file.fileno())""",
}


def use_until_it_fails(client: TCPStore) -> None:
    while True:
        client.get("k")


@pytest.mark.parametrize("child", CHILDREN)
def test_a_childs_life_does_not_keep_a_dead_server_alive(child: str) -> None:
    """The parent is killed: its port is free and its clients know, though its child lives."""
    with (
        Server() as server,
        PythonProcess(PARENT.replace("{child}", CHILDREN[child]), str(server.port)) as parent,
    ):
        port = int(str(parent.line()))
        child_pid = int(str(parent.line()))
        try:
            client = TCPStore("127.0.0.1", port, timeout=60)
            client.set("k", "v")
            client.set_timeout(0.2)
            parent.signal(signal.SIGKILL)
            with pytest.raises(StoreConnectionError):
                use_until_it_fails(client)
            with Server("127.0.0.1", port) as successor:
                assert successor.port == port
            os.kill(child_pid, 0)
        finally:
            os.kill(child_pid, signal.SIGKILL)


# Opens a store of each kind that needs no server, lets one of them log, and forks.
LOGS = """\
import logging, os, sys, warnings
warnings.simplefilter("error")
records = []
class Keeper(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
logging.getLogger("rendezvous").addHandler(Keeper())
logging.getLogger("rendezvous").setLevel(logging.DEBUG)
from rendezvous import FileStore, HashStore
path = sys.argv[1]
FileStore(path, job_id="one").set("k", "v")
kept = [HashStore(), FileStore(path, job_id="two")]
print(len(os.listdir("/proc/self/task")), flush=True)
print(sum("'one'" in record for record in records), flush=True)
child = os.fork()
if child == 0:
    records.clear()
    FileStore(path + "2", job_id="one").set("k", "v")
    FileStore(path + "2", job_id="two")
    os._exit(len(records))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system has no /proc")
def test_stores_without_a_server_start_no_thread_and_log_all_the_same(tmp_path: Path) -> None:
    """Forking does not warn of threads; what was logged is said by the call itself, once."""
    with PythonProcess(LOGS, str(tmp_path / "store")) as process:
        assert [process.line(), process.line(), process.line()] == ["1", "1", "1"]
        assert process.end() == 0, process.stderr
