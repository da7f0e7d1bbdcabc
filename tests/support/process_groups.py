"""Ranks of torch's process groups: processes forked from one that has imported torch already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BACKSTOP_S = 180.0

_PARENT = """\
import json, os, sys, tempfile, traceback
from datetime import timedelta
import torch, torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.distributed.rpc as rpc
torch.set_num_threads(1)
for line in sys.stdin:
    job = json.loads(line)
    ranks = []
    for rank in range(job["world"]):
        out = tempfile.TemporaryFile()
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            code = 0
            try:
                names = {"rank": rank, "world": job["world"], **job["names"]}
                exec(job["code"], {**globals(), **names})
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        ranks.append((pid, out))
    found = []
    for pid, out in ranks:
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        found.append((os.waitstatus_to_exitcode(status), out.read().decode(errors="replace")))
    print(json.dumps(found), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a rank ended."""

    code: int
    output: str


class Ranks:
    """Plays programs in worlds of forked ranks, one world at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def play(self, code: str, world: int, **names: object) -> list[Ended]:
        """Each rank runs `code`.

        It has torch, dist, dcp, rpc, timedelta, rank, world and `names`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"code": code, "world": world, "names": names}
        backstop = threading.Timer(BACKSTOP_S, self.kill)
        backstop.start()
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            backstop.cancel()
        assert line, f"the ranks did not end within {BACKSTOP_S} s"
        return [Ended(code, output) for code, output in json.loads(line)]

    def kill(self) -> None:
        """The parent, and ranks that are left."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    try:
        yield made
    finally:
        made.kill()
        made._process.communicate()
