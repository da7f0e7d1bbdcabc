"""Queues and signals: Ctrl-C in a blocked pop takes no item with it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from support.process import PythonProcess

from rendezvous import Server

# Blocks in a pop; once interrupted, is given an item and must find it in the queue.
POPS = """\
import sys, threading
from rendezvous import FileStore, HashStore, TCPStore
port, path = int(sys.argv[1]), sys.argv[2]
store = {store}
store.set_timeout(600)
if {company}:
    threading.Thread(target=store.queue_pop, args=("other",), daemon=True).start()
try:
    print("ready", flush=True)
    store.queue_pop("q")
except KeyboardInterrupt:
    print("interrupted", flush=True)
store.queue_push("q", "1")
store.queue_push("q", "2")
assert store.queue_len("q") == 2
assert store.queue_pop("q", timeout=60) == b"1"
assert store.queue_pop("q", block=False) == b"2"
print("done", flush=True)
"""


@pytest.mark.parametrize("company", [False, True], ids=["alone", "beside another thread"])
@pytest.mark.parametrize("store", ["HashStore()", "TCPStore('127.0.0.1', port)", "FileStore(path)"])
def test_ctrl_c_in_a_blocked_pop_takes_no_item(
    server: Server, tmp_path: Path, store: str, company: bool
) -> None:
    """KeyboardInterrupt is raised, and items that come later are all there."""
    code = POPS.format(store=store, company=company)
    with PythonProcess(code, str(server.port), str(tmp_path / "store")) as process:
        assert process.line() == "ready"
        time.sleep(0.1)  # it blocks, of which there is no sign; earlier, less is tested
        process.signal(signal.SIGINT)
        assert process.line() == "interrupted"
        assert process.line() == "done"
        assert process.end() == 0
