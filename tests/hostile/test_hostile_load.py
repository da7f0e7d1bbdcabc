"""One connection that asks for much keeps nobody waiting.

For each kind of flood: how much processor time does the server spend between another connection's
PING and its answer? That does not depend on what else the machine does. `nox -s hostile` sends
floods of full size.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import floods
from support.process import ServerProcess

# A program to flood in place of `rendezvous serve`: one that was built with sanitizers.
STORE_SERVER = os.environ.get("RDZV_STORE_SERVER")
SIZE = int(os.environ.get("RDZV_HOSTILE_SIZE", "20000"))
# What is promised is 5 ms, and bench/ measures it. Caches that other work has emptied make the same
# work several times as long.
CPU_MAX_S = float(os.environ.get("RDZV_HOSTILE_CPU_S", "0.04"))
# What the server does between its answer and the test's reading it is counted, too. A busy
# machine can thus only make a figure higher: the lowest of some counts.
TRIES = 4


class StoreServer:
    """STORE_SERVER while it runs; that it ends well is looked at."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline())

    def end(self) -> int:
        self._process.communicate()
        return self._process.returncode


@contextmanager
def running_server() -> Iterator[StoreServer | ServerProcess]:
    if STORE_SERVER is None:
        with ServerProcess() as process:
            yield process
    else:
        program = StoreServer(STORE_SERVER)
        yield program
        assert program.end() == 0


@pytest.mark.parametrize("name", floods.names())
def test_a_ping_costs_little_beside_a_flood(name: str) -> None:
    """Others are answered between the parts of what one connection asks for."""
    limit_s = CPU_MAX_S * (20 if name in floods.AS_A_WHOLE else 1)
    lowest_s = math.inf
    for _ in range(TRIES):
        with running_server() as server:
            worst_s, pings = floods.measure(name, SIZE, server.pid, server.port)
        print(f"{name}: {worst_s * 1e3:.2f} ms, {pings} pings")
        lowest_s = min(lowest_s, worst_s)
        if lowest_s < limit_s:
            return
    assert lowest_s < limit_s
