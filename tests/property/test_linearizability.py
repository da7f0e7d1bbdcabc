"""Calls of many threads and processes at once have an order that explains all their results."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from property import recording
from property.linearizability import Call, violations
from property.recording import from_json
from support.process import PythonProcess

from rendezvous import Server

HISTORIES = int(os.environ.get("RDZV_HISTORIES", "200"))
SEED = os.environ.get("RDZV_HISTORY_SEED") or str(random.SystemRandom().randrange(2**32))
PROCESSES, THREADS = 3, 3
HEAD_START_NS = 3_000_000  # for a history's line to reach all processes; less only tests less
WORKER = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


@pytest.fixture(params=["tcp", "file", "file-compacted"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[PythonProcess]]:
    """Processes that play histories on one store."""
    kind, *compacted = request.param.split("-")
    with ExitStack() as stack:
        if kind == "tcp":
            address = str(stack.enter_context(Server()).port)
        else:
            address = str(tmp_path / "store")
        environment = {"RENDEZVOUS_FILE_COMPACT_BYTES": "1" if compacted else "1000000"}
        arguments = [recording.__file__, kind, address, str(THREADS)]
        started = [
            stack.enter_context(PythonProcess(WORKER, *arguments, **environment))
            for _ in range(PROCESSES)
        ]
        assert [worker.line() for worker in started] == ["ready"] * PROCESSES
        yield started


def test_processes_and_threads_see_one_order(workers: list[PythonProcess]) -> None:
    """Each history of all processes' calls on a few keys is linearizable."""
    overlaps = 0
    for number in range(HISTORIES):
        start = time.monotonic_ns() + HEAD_START_NS
        keys = " ".join(f"{number}/{name}" for name in "ab"[: 1 + number % 2])
        for name, worker in enumerate(workers):
            worker.say(f"{SEED}-{number} {start} p{name} {keys}")
        history = [call for worker in workers for call in from_json(worker.line())]
        assert len(history) == PROCESSES * THREADS * recording.CALLS_A_CLIENT
        assert [call for call in history if call.is_open] == [], "calls that failed"
        found = [str(violation) for violation in violations(history)]
        assert not found, f"RDZV_HISTORY_SEED={SEED}, history {number}:\n" + "\n".join(found)
        overlaps += overlaps_between_processes(history)
    assert overlaps > 0, "the processes never met: this tested nothing"


def overlaps_between_processes(history: list[Call]) -> int:
    """Neighbours in time, on one key and of two processes, of which one began during the other."""
    count = 0
    for key in {call.key for call in history}:
        calls = sorted((c for c in history if c.key == key), key=lambda call: call.invoked)
        for one, next_one in pairwise(calls):
            apart = one.client.split(".")[0] != next_one.client.split(".")[0]
            count += apart and next_one.invoked < one.returned
    return count
