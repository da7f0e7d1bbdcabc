"""FileStore between processes: shared values, left-over files, stopped users, waiting."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from support.background import Background, eventually
from support.process import PythonProcess

from rendezvous import (
    FileStore,
    StoreAddressInUseError,
    StoreClosedError,
    StoreConnectionError,
    StoreProtocolError,
    StoreRestartedError,
    StoreTimeoutError,
    open_store,
)

# Says "open", then answers lines of Python expressions on `store`.
USER = """\
import sys
from rendezvous import FileStore
store = FileStore(sys.argv[1], job_id=sys.argv[2])
print("open", flush=True)
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""

# Takes the writer's lock as a process does that was stopped in the middle of a write.
HOLDER = """\
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
F_OFD_SETLK = 37
fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 1 << 62, 1, 0))
print("locked", flush=True)
sys.stdin.read()
"""

# Adds to one counter, and keeps the file changing otherwise.
WRITER = """\
import sys
from rendezvous import FileStore
store = FileStore(sys.argv[1], job_id="job")
print("open", flush=True)
sys.stdin.readline()
largest = 0
import os
for i in range(int(sys.argv[3])):
    store.add("counter", 1)
    store.set("value of " + sys.argv[2], "x" * 200)
    store.set("other %d" % (i % 10), str(i))
    largest = max(largest, os.stat(sys.argv[1]).st_size)
print(largest, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def started() -> Iterator[ExitStack]:
    """Processes entered here end with the test."""
    with ExitStack() as stack:
        yield stack


def user(started: ExitStack, path: str, job_id: str = "job") -> PythonProcess:
    process = started.enter_context(PythonProcess(USER, path, job_id))
    assert process.line() == "open"
    return process


def ask(process: PythonProcess, expression: str) -> str:
    process.say(expression)
    return process.line()


def test_processes_share_their_values(started: ExitStack, path: str) -> None:
    """What one process writes, another reads, in both directions, and whoever waits is told."""
    store = FileStore(path, job_id="job")
    other = user(started, path)
    store.set("a", b"\x00\xff")
    assert ask(other, "store.get('a', 0)") == r"b'\x00\xff'"
    assert ask(other, "store.add('n', 5)") == "5"
    assert store.get("n", 0) == b"5"
    waiting = Background(store.get, "later").let_block()
    assert ask(other, "store.multi_set(['later', 'b'], ['1', '2'])") == "None"
    assert waiting.result() == b"1"
    assert store.check(["b"])
    assert store.num_keys() == 4


def test_many_processes_write_and_the_file_stays_small(started: ExitStack, path: str) -> None:
    """Four processes write at once: nothing is lost, and compaction bounds the file."""
    count = 500
    store = FileStore(path, job_id="job")
    writers = [
        started.enter_context(
            PythonProcess(WRITER, path, str(i), str(count), RENDEZVOUS_FILE_COMPACT_BYTES="20000")
        )
        for i in range(4)
    ]
    for writer in writers:
        assert writer.line() == "open"
    for writer in writers:
        writer.say("go")
    # 4 x 500 x 3 records have more than 400,000 bytes; the values that are there, below 2,000.
    assert all(int(writer.line()) < 30_000 for writer in writers)
    assert store.get("counter", 0) == str(4 * count).encode()
    assert store.num_keys() == 15


def test_a_left_over_file_belongs_to_its_job(started: ExitStack, path: str) -> None:
    """A later process of the same job finds the values, also when the earlier one was killed."""
    first = user(started, path, "one")
    assert ask(first, "store.set('k', 'v')") == "None"
    first.kill()
    assert Path(path + ".lock").exists()
    assert ask(user(started, path, "one"), "store.get('k', 0)") == "b'v'"


def test_a_left_over_file_of_another_job_is_started_afresh(started: ExitStack, path: str) -> None:
    """Values of a job that has ended are not seen by another one, or by one without a job_id."""
    first = user(started, path, "one")
    assert ask(first, "store.set('k', 'v')") == "None"
    with pytest.raises(StoreAddressInUseError, match="'one', not 'two'"):
        FileStore(path, job_id="two")
    first.kill()
    assert FileStore(path, job_id="two").num_keys() == 0
    assert FileStore(path).num_keys() == 0


def test_a_stopped_user_does_not_look_gone(started: ExitStack, path: str) -> None:
    """A stopped process still uses its file."""
    first = user(started, path, "one")
    first.pause()
    with pytest.raises(StoreAddressInUseError):
        FileStore(path, job_id="two")
    first.resume()
    assert ask(first, "store.num_keys()") == "0"


def test_a_stopped_writer_holds_up_no_reader_and_no_deadline(started: ExitStack, path: str) -> None:
    """While a stopped process holds the writer's lock: reads work, writes name it and time out."""
    store = FileStore(path, job_id="job")
    store.set("k", "v")
    holder = started.enter_context(PythonProcess(HOLDER, path))
    assert holder.line() == "locked"
    holder.pause()
    store.set_timeout(0.2)
    assert store.get("k", 0) == b"v"
    begin = time.monotonic()
    with pytest.raises(StoreTimeoutError, match=rf"add .*pid {holder.pid} "):
        store.add("n", 1)
    assert time.monotonic() - begin >= 0.2
    store.set_timeout(60)
    adding = Background(store.add, "n", 1).let_block()
    holder.kill()
    assert adding.result() == 1


def test_opening_keeps_its_timeout_behind_a_stopped_writer(started: ExitStack, path: str) -> None:
    """However it is opened: by its class, by a URL, as a clone. Far from the default of 300 s."""
    store = FileStore(path, job_id="job", timeout=0.2)
    assert store.timeout == timedelta(seconds=0.2)
    holder = started.enter_context(PythonProcess(HOLDER, path))
    assert holder.line() == "locked"
    holder.pause()
    openings: list[Callable[[], object]] = [
        lambda: FileStore(path, job_id="job", timeout=timedelta(seconds=0.2)),
        lambda: open_store(f"file://{path}?job_id=job", timeout=0.2),
        lambda: open_store(f"file://{path}?job_id=job&timeout=0.2"),
        store.clone,
    ]

    def names_the_holder(open_it: Callable[[], object]) -> bool:
        begin = time.monotonic()
        with pytest.raises(StoreTimeoutError) as caught:
            open_it()
        assert 0.2 <= time.monotonic() - begin < 60
        return f"pid {holder.pid} " in str(caught.value)

    for open_it in openings:
        # It is looked for no longer than a moment, which a busy machine may not give.
        eventually("its name", partial(names_the_holder, open_it))
    holder.kill()
    assert open_store(f"file://{path}?job_id=job", timeout=7).timeout == timedelta(seconds=7)


def test_a_file_that_is_moved_while_in_use_is_noticed(started: ExitStack, path: str) -> None:
    """A process that had it open does not go on alone with the moved file, nor wait for ever."""
    store = FileStore(path, job_id="job")
    other = user(started, path)
    waiting = Background(store.get, "never").let_block()
    Path(path).rename(path + ".old")
    with pytest.raises(StoreConnectionError, match="removed or renamed"):
        store.set("k", "v")
    with pytest.raises(StoreConnectionError, match="removed or renamed"):
        waiting.result()
    newcomer = user(started, path)
    assert ask(newcomer, "store.set('k', 'of the new file')") == "None"
    with pytest.raises(StoreRestartedError, match="replaced"):
        store.get("k", 0)
    other.say("store.check(['k'])")
    assert other.end() != 0
    assert "StoreRestartedError" in other.stderr


def test_a_writer_that_waits_for_the_lock_holds_up_no_thread(started: ExitStack, path: str) -> None:
    """Other threads of the object read on while one of them cannot write."""
    store = FileStore(path, job_id="job")
    holder = started.enter_context(PythonProcess(HOLDER, path))
    assert holder.line() == "locked"
    writing = Background(store.set, "k", "v").let_block()
    assert not store.check(["k"])
    assert writing.running
    holder.kill()
    writing.result()
    assert store.check(["k"])


def test_ctrl_c_ends_a_wait_for_the_lock(started: ExitStack, path: str) -> None:
    """A signal's exception ends a write that waits for another process."""
    process = user(started, path)
    holder = started.enter_context(PythonProcess(HOLDER, path))
    assert holder.line() == "locked"
    process.say("store.set('k', 'v')")
    time.sleep(0.05)  # so that it waits; earlier is right too
    process.signal(signal.SIGINT)
    assert process.end() != 0
    assert "KeyboardInterrupt" in process.stderr


def test_waiting_costs_little_cpu(path: str) -> None:
    """A blocked call sleeps: below 1 % of a core on a quiet machine, asserted with room."""
    store = FileStore(path)
    begin_cpu, begin = time.process_time(), time.monotonic()
    with pytest.raises(StoreTimeoutError):
        store.get("missing", 1.0)
    assert (time.process_time() - begin_cpu) / (time.monotonic() - begin) < 0.1


def test_a_forked_child_opens_its_own(path: str) -> None:
    """The inherited object is refused in the child, and does not disturb the parent."""
    store = FileStore(path, job_id="job")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(StoreClosedError, match="open it again"):
                store.get("k", 0)
            FileStore(path, job_id="job").set("k", "child")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("k", 0) == b"child"


def test_path_is_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """str, bytes and os.PathLike are file names; a relative one outlives a change of directory."""
    monkeypatch.chdir(tmp_path)
    store = FileStore("relative", -1)
    assert store.path == "relative"
    assert FileStore(tmp_path / "relative", world_size=2).path == str(tmp_path / "relative")
    assert FileStore(os.fsencode(tmp_path / "relative")).path == str(tmp_path / "relative")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.set("k", "v")
    assert FileStore(tmp_path / "relative").get("k", 0) == b"v"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_lock_file_goes_with_the_last_user(path: str) -> None:
    """After an orderly end only the file itself is left."""
    first, second = FileStore(path), FileStore(path)
    del first
    assert Path(path + ".lock").exists()
    second.set("k", "v")
    del second
    assert not Path(path + ".lock").exists()
    assert Path(path).exists()


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    """A missing directory, a directory and a foreign file raise, and nothing is changed."""
    with pytest.raises(StoreConnectionError, match=r"directory .*missing.* does not exist"):
        FileStore(tmp_path / "missing" / "store")
    with pytest.raises(StoreConnectionError, match="is a directory"):
        FileStore(tmp_path)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("to do")
    with pytest.raises(StoreProtocolError, match="not a FileStore file"):
        FileStore(foreign)
    assert foreign.read_text() == "to do"
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(TypeError):
        FileStore(17)  # type: ignore[arg-type]
