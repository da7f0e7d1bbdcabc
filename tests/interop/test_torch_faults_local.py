"""What torch's HashStore, FileStore, PrefixStore and RendezvousStoreInfo get wrong.

Tests named `test_torch_...` show the fault on torch 2.13; the test after each holds ours to better.
torch's FileStore can hang a process for good: it does so in children, which are ended by pid.
"""

from __future__ import annotations

import importlib
import os
import queue
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import Background, eventually
from support.proc import cpu_s
from support.process import PythonProcess

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    FileStore,
    HashStore,
    PrefixStore,
    StoreConnectionError,
    StoreTimeoutError,
)

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")

SECOND = timedelta(seconds=1)
LONG = timedelta(seconds=600)  # longer than a test waits for anything


def test_torch_hash_store_add_wakes_nobody() -> None:
    """A wait for a counter sleeps to its timeout, and then finds that the key is there."""
    store = dist.HashStore()
    waiting = Background(store.wait, ["n"], SECOND).let_block()
    store.add("n", 1)
    waiting.result()
    assert waiting.elapsed_s >= 1.0


def test_hash_store_add_wakes_waiters() -> None:
    """A wait for a counter ends with the add."""
    store = HashStore()
    waiting = Background(store.wait, ["n"], LONG).let_block()
    store.add("n", 1)
    waiting.result()


def test_torch_hash_store_push_wakes_a_waiter_of_another_queue() -> None:
    """The push wakes one waiter of any key, so the right one sleeps to its timeout."""
    store = dist.HashStore()
    store.set_timeout(SECOND)
    others = [Background(store.queue_pop, "other").let_block() for _ in range(4)]
    popping = Background(store.queue_pop, "queue").let_block()
    store.queue_push("queue", "1")
    assert popping.result() == b"1"
    assert popping.elapsed_s >= 1.0
    for other in others:
        with pytest.raises(RuntimeError):
            other.result()


def test_hash_store_push_wakes_the_waiter_of_its_queue() -> None:
    """However many wait for other queues."""
    store = HashStore()
    others = [Background(store.queue_pop, "other", True, LONG).let_block() for _ in range(4)]
    popping = Background(store.queue_pop, "queue", True, LONG).let_block()
    store.queue_push("queue", "1")
    assert popping.result() == b"1"
    for other in others:
        assert other.running
        store.queue_push("other", "2")
    assert {other.result() for other in others} == {b"2"}


# Writer and reader, because even the destructor of the writer reads the record, and hangs.
TORCH_READER = """\
import os, sys
from datetime import timedelta
import torch.distributed as dist
writer = dist.FileStore(sys.argv[1], 2)
writer.set("k", "v" * 20)
os.truncate(sys.argv[1], os.path.getsize(sys.argv[1]) - 5)
print("cut", flush=True)
store = dist.FileStore(sys.argv[1], 2)
store.set_timeout(timedelta(seconds=1))
store.check(["k"])
print("has read", flush=True)
"""


def test_torch_file_store_reader_spins_at_a_cut_record(tmp_path: Path) -> None:
    """With a timeout of 1 s, a reader burns more CPU time than that, and does not return."""
    with PythonProcess(TORCH_READER, str(tmp_path / "store")) as reader:
        assert reader.line() == "cut"
        before = cpu_s(reader.pid)
        eventually("it spins", lambda: cpu_s(reader.pid) - before > 1.5)
        reader.kill()
        with pytest.raises(AssertionError, match="ended without a further line"):
            reader.line()


def test_file_store_reader_passes_over_a_cut_record(tmp_path: Path) -> None:
    """Readers see what was whole, waiting keeps its timeout, and the next writer goes on."""
    path = tmp_path / "store"
    writer, reader = FileStore(path), FileStore(path)
    writer.set("whole", "1")
    whole_bytes = path.stat().st_size
    writer.set("k", "v" * 20)
    record = path.read_bytes()[whole_bytes:]
    os.truncate(path, whole_bytes)
    with path.open("ab") as file:
        file.write(record[:-5])
    late = FileStore(path)
    assert late.get("whole") == b"1"
    with pytest.raises(StoreTimeoutError):
        late.get("k", 0.1)
    late.set("k", "again")
    assert reader.get("k") == late.get("k") == b"again"


def test_torch_file_store_delete_always_says_true(tmp_path: Path) -> None:
    """Also for a key that never was."""
    assert dist.FileStore(str(tmp_path / "store"), 1).delete_key("never") is True


def test_file_store_delete_says_whether_there_was_a_key(tmp_path: Path) -> None:
    """True for one that was, False for any other."""
    store = FileStore(tmp_path / "store")
    store.set("k", "v")
    assert (store.delete_key("k"), store.delete_key("k")) == (True, False)


def test_torch_file_store_rounds_timeouts_to_seconds(tmp_path: Path) -> None:
    """A wait of 50 ms takes a second."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    waiting = Background(store.wait, ["never"], timedelta(milliseconds=50))
    with pytest.raises(RuntimeError, match="timeout"):
        waiting.result()
    assert waiting.elapsed_s > 0.5


def test_file_store_keeps_timeouts(tmp_path: Path) -> None:
    """A wait of 50 ms takes less than torch's second, in the best of some attempts."""
    store = FileStore(tmp_path / "store")
    took = []
    for _ in range(5):
        begin = time.monotonic()
        with pytest.raises(StoreTimeoutError):
            store.wait(["never"], timedelta(milliseconds=50))
        took.append(time.monotonic() - begin)
    assert 0.05 <= min(took) < 0.5


TORCH_WITHOUT_DIRECTORY = """\
import sys, threading, time
import torch.distributed as dist
ticks = threading.Event()
def tick():
    while True:
        print("tick", flush=True)
        ticks.set()
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
ticks.wait()
dist.FileStore(sys.argv[1], 1).set("k", "v")
"""


def test_torch_file_store_without_directory_freezes_the_interpreter(tmp_path: Path) -> None:
    """A thread that prints every 10 ms falls silent: the GIL is held."""
    with PythonProcess(TORCH_WITHOUT_DIRECTORY, str(tmp_path / "missing" / "store")) as child:
        assert child.line() == "tick"
        with suppress(queue.Empty):
            while child._lines.get(timeout=1.0) is not None:
                pass
        assert Path(f"/proc/{child.pid}").exists()
        child.kill()


def test_file_store_without_directory_is_an_error(tmp_path: Path) -> None:
    """It says what is missing, while other threads run."""
    with pytest.raises(StoreConnectionError, match="missing/ does not exist"):
        FileStore(tmp_path / "missing" / "store")


def test_torch_file_store_replays_a_previous_job(tmp_path: Path) -> None:
    """A file that nobody uses any more is read as if it were this job's."""
    path = str(tmp_path / "store")
    previous = dist.FileStore(path, 2)
    previous.set("address", "of the previous job")
    del previous
    assert dist.FileStore(path, 2).get("address") == b"of the previous job"


def test_file_store_starts_afresh(tmp_path: Path) -> None:
    """A file that nobody uses is taken over without its values, unless the job id is the same."""
    for job_id, there in [("", False), ("1", False), ("1", True), ("2", False)]:
        store = FileStore(tmp_path / "store", job_id=job_id)
        assert store.check(["address"]) is there
        store.set("address", "of the previous job")
        del store


def test_torch_prefix_store_lists_keys_of_others() -> None:
    """`a` shows what belongs to `ab`."""
    base = dist.HashStore()
    base.set("ab/x", "")
    assert dist.PrefixStore("a", base).list_keys() == ["/x"]


def test_prefix_store_lists_its_own_keys() -> None:
    """The separator belongs to the prefix."""
    base = HashStore()
    base.set("ab/x", "")
    base.set("a/y", "")
    assert PrefixStore("a", base).list_keys() == ["y"]


def test_torch_store_info_of_the_previous_round_leaks() -> None:
    """In a second round on the same store, rank 1 reads the address of the first."""
    api = importlib.import_module("torch.distributed.elastic.rendezvous.api")
    store = dist.HashStore()
    api.RendezvousStoreInfo.build(0, store, "first", 1)
    second = api.RendezvousStoreInfo.build(1, store, "another")
    assert second.master_addr == "first"


def test_each_round_has_keys_of_its_own() -> None:
    """What a round stored, the next one does not see, nor the other way round."""
    store = HashStore()
    handler = DynamicRendezvousHandler.from_backend(
        "run", store, C10dRendezvousBackend(store, "run"), 1, 1, local_addr="127.0.0.1"
    )
    try:
        first = handler.next_rendezvous()
        first.store.set("left behind", "")
        second = handler.next_rendezvous()
    finally:
        handler.shutdown()
    assert (first.round, second.round) == (1, 2)
    assert not second.store.check(["left behind"])
    second.store.set("MASTER_ADDR", "second")
    assert not first.store.check(["MASTER_ADDR"])
