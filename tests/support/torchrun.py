"""torchrun as its users run it: real agents and workers, ended by process id.

Waiting is for files, lines and ends of processes; BACKSTOP_S only turns a hang into a failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

BACKSTOP_S = 180.0
_T = TypeVar("_T")

# A worker: adds up ones with all others, counts its steps from where the last round left them, and
# goes on until the file `stop` is there, whose content is the exit code.
WORKER = """\
import json, os, sys, time
import torch, torch.distributed as dist
folder = sys.argv[1]
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
checkpoint = os.path.join(folder, "checkpoint")
step = torch.zeros(1, dtype=torch.int64)
if rank == 0 and os.path.exists(checkpoint):
    step[0] = int(open(checkpoint).read())
dist.broadcast(step, 0)
ones = torch.ones(1)
dist.all_reduce(ones)
def write(name, text):
    path = os.path.join(folder, name)
    with open(path + ".part", "w") as out:
        out.write(text)
    os.rename(path + ".part", path)
write("report-%d" % os.getpid(), json.dumps({
    "pid": os.getpid(), "agent": os.getppid(), "rank": rank, "world": world,
    "sum": int(ones.item()), "from": int(step.item()), "env": dict(os.environ)}))
while True:
    flag = torch.tensor([os.path.exists(os.path.join(folder, "stop"))], dtype=torch.int64)
    dist.all_reduce(flag)
    if flag.item():
        break
    step += 1
    if rank == 0:
        write("checkpoint", str(step.item()))
    time.sleep(0.05)
write("stopped-%d" % os.getpid(), str(step.item()))
dist.barrier()
dist.destroy_process_group()
sys.exit(int(open(os.path.join(folder, "stop")).read()))
"""


def wait_for(what: str, look: Callable[[], _T | None]) -> _T:
    """The first result of `look` that is true."""
    deadline = time.monotonic() + BACKSTOP_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {BACKSTOP_S} s")


class Agent:
    """One torchrun."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], before: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "torch.distributed.run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",  # not our sources: the installed package is what is tested
            env=environment,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    def code(self) -> int:
        """Its exit code, when it has ended."""
        try:
            code = self._process.wait(BACKSTOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"torchrun has not ended: {self.output}") from None
        return code

    def all_output(self) -> str:
        """After its end, and that of its workers, which write to the same pipe."""
        self._reader.join(BACKSTOP_S)
        return self.output

    def wait_for_text(self, text: str) -> None:
        wait_for(f"{text!r} of torchrun", lambda: text in self.output)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Job:
    """The agents of one job, and what its workers wrote. Ends all of them, orphans included."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "worker.py"
        self.script.write_text(WORKER)
        self.agents: list[Agent] = []
        self._met: set[str] = set()  # rounds, by their MASTER_PORT

    def start(
        self,
        *options: str,
        endpoint: str,
        backend: str = "rendezvous",
        script: str = "",
        run_id: str = "job",
        before: Sequence[str] = (),
        **environment: str,
    ) -> Agent:
        """before: a command that becomes the one behind it, as on another machine."""
        if script:
            self.script.write_text(script)
        ours = ("RENDEZVOUS_", "TORCHELASTIC", "TORCH_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        inherited |= {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "", "MASTER_PORT": ""}
        agent = Agent(
            [
                f"--rdzv-backend={backend}",
                f"--rdzv-endpoint={endpoint}",
                *([f"--rdzv-id={run_id}"] if run_id else []),
                *options,
                str(self.script),
                str(self.folder),
            ],
            inherited | environment,
            before,
        )
        self.agents.append(agent)
        return agent

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.folder.glob("report-*[0-9]")]

    def meets(self, workers: int, agents: list[Agent]) -> list[dict[str, Any]]:
        """The reports of a new round of so many workers, all of these agents; when it has begun."""
        pids = {agent.pid for agent in agents}

        def look() -> list[dict[str, Any]] | None:
            rounds: dict[str, list[dict[str, Any]]] = {}
            for report in self.reports():
                rounds.setdefault(report["env"]["MASTER_PORT"], []).append(report)
            for port, found in rounds.items():
                if port not in self._met and len(found) == found[0]["world"] == workers:
                    self._met.add(port)
                    if {report["agent"] for report in found} == pids:
                        return found
            return None

        try:
            return wait_for(f"{workers} workers of {len(agents)} agents", look)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[agent.output for agent in agents]}") from None

    def stop(self, code: int = 0) -> None:
        part = self.folder / "stop.part"
        part.write_text(str(code))
        part.rename(self.folder / "stop")

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
        # torch's workers are in sessions of their own, and outlive an agent that was killed.
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.script) in (process / "cmdline").read_text().split("\0"):
                    os.kill(int(process.name), signal.SIGKILL)
