"""Deadlines while the wall clock is set back, an hour each time that somebody reads it.

A library that is preloaded (support/wall_clock.c) does that in the processes that run the tests of
deadlines; a wait that ends by the wall clock would not end there. On a Python that waits by it
itself, this says nothing of ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import PythonProcess

TESTS = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="preloads a library for Linux"
)

SOURCE = TESTS / "support" / "wall_clock.c"

# Two waits of a tenth of a second, by the C library's semaphore, and by one of ours. Both begin
# before anything ends.
WALL_AND_OURS = """\
import ctypes, sys, threading, time
from rendezvous import HashStore, StoreTimeoutError

libc = ctypes.CDLL(None)
class Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]
semaphore = ctypes.create_string_buffer(64)
libc.sem_init(semaphore, 0, 0)
began = threading.Event()
is_over = threading.Event()
def wait_by_the_wall_clock():
    now = time.time() + 0.1
    deadline = Time(int(now), int(now % 1 * 1e9))
    began.set()
    libc.sem_timedwait(semaphore, ctypes.byref(deadline))
    is_over.set()
threading.Thread(target=wait_by_the_wall_clock, daemon=True).start()
began.wait()
try:
    HashStore().wait(["never"], 1.0)
except StoreTimeoutError:
    if "join" in sys.argv:
        is_over.wait()
    print("theirs ended" if is_over.is_set() else "theirs waits", time.time() <= time.time())
"""


@pytest.fixture(scope="module")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    library = tmp_path_factory.mktemp("wall_clock") / "wall_clock.so"
    words: list[str | Path] = [
        compiler,
        "-std=gnu11",
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        library,
        SOURCE,
        "-ldl",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def test_a_wait_by_the_wall_clock_does_not_end_where_it_is_set_back(preload: Path) -> None:
    """What the other tests here rest on: the library holds such a wait, and not ours."""
    with PythonProcess(WALL_AND_OURS, LD_PRELOAD=str(preload)) as process:
        assert process.line() == "theirs waits False"


def test_without_the_library_both_end() -> None:
    """The same waits, by a clock that goes on."""
    with PythonProcess(WALL_AND_OURS, "join") as process:
        assert process.line() == "theirs ended True"


@pytest.mark.parametrize(
    "tests",
    [
        "integration/test_deadlines.py",
        "contract/test_store_timeouts.py",
        "contract/test_store_exchange.py",
    ],
)
def test_deadlines_are_kept_while_the_wall_clock_is_set_back(preload: Path, tests: str) -> None:
    """Tests of deadlines pass in processes where each look at the clock sets it back."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "-c", str(TESTS.parent / "pyproject.toml")),
            *("--rootdir", str(TESTS.parent), str(TESTS / tests)),
            # etcd is no part of ours, and its clocks are its own.
            *("-k", "not etcd"),
        ],
        cwd="/",  # not our sources: the installed package is what is tested
        env=os.environ | {"LD_PRELOAD": str(preload), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert " passed" in done.stdout
