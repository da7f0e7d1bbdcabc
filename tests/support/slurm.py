"""A SLURM of several nodes on one machine: a real munged, slurmctld and slurmd, each node in a
network namespace of its own (machines.py).

Needs Debian's packages slurmctld, slurmd and munge. All of it ends with the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support import machines
from support.cli import BACKSTOP_S, environment
from support.machines import Machine

_PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "srun", "sinfo")
_CONF = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort=6817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerType=sched/backfill
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def why_not() -> str:
    """Why there can be no SLURM here; empty: there can."""
    missing = [name for name in _PROGRAMS if _which(name) is None]
    if missing:
        return (
            f"{', '.join(missing)}: not installed (Debian: apt-get install slurmctld slurmd munge)"
        )
    return machines.why_not()


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Slurm:
    """A running one. `before` and `env` make a command a client of it, on its first node."""

    def __init__(self, folder: Path, nodes: list[Machine]) -> None:
        self.folder = folder
        self.nodes = nodes
        self.before = nodes[0].before
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        munge = self.folder / "munge"
        munge.mkdir(mode=0o755)
        (self.folder / "state").mkdir()
        key = munge / "key"
        subprocess.run([str(_which("mungekey")), "-c", "-k", str(key)], check=True)
        lines = "\n".join(
            f"NodeName={node.name} NodeAddr={node.address} CPUs=4 State=UNKNOWN"
            for node in self.nodes
        )
        first = self.nodes[0]
        conf = _CONF.format(host=first.name, address=first.address, folder=self.folder, nodes=lines)
        (self.folder / "slurm.conf").write_text(conf)
        # It is not used; looking which one the system has would fail in a network namespace.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self._spawn(
            first, "munged", "-F", "-f", "--key-file", str(key), "--socket", str(munge / "socket"),
            "--pid-file", str(munge / "pid"), "--log-file", str(munge / "log"),
            "--seed-file", str(munge / "seed"), "--num-threads", "2",
        )  # fmt: skip
        self._wait("munged", (munge / "socket").exists)
        self._spawn(first, "slurmctld", "-D")
        for node in self.nodes:
            (self.folder / f"spool-{node.name}").mkdir()
            self._spawn(node, "slurmd", "-D", "-N", node.name)
        self._wait("idle nodes", lambda: self._idle() == len(self.nodes))

    def _spawn(self, where: Machine, name: str, *words: str) -> None:
        log = (self.folder / f"{name}-{len(self._processes)}.out").open("wb")
        with log:
            self._processes.append(
                subprocess.Popen(
                    [*where.before, str(_which(name)), *words],
                    env=environment(**self.env),
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            )

    def _idle(self) -> int:
        done = subprocess.run(
            [*self.before, "sinfo", "-h", "-N", "-t", "idle", "-o", "%N"],
            env=environment(**self.env),
            capture_output=True,
            check=False,
            timeout=BACKSTOP_S,
        )
        return len(done.stdout.split())

    def _wait(self, what: str, look: object) -> None:
        assert callable(look)
        deadline = time.monotonic() + BACKSTOP_S
        while not look():
            ended = [p.args for p in self._processes if p.poll() is not None]
            if ended or time.monotonic() > deadline:
                paths = [*sorted(self.folder.glob("*.out")), *sorted(self.folder.glob("*.log"))]
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in paths
                )
                raise AssertionError(f"no {what}; ended: {ended}\n{logs}")
            time.sleep(0.1)

    def close(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm(folder: Path, nodes: int) -> Iterator[Slurm]:
    """Of nodes n0, n1, and so on."""
    with machines.machines([f"n{i}" for i in range(nodes)]) as made:
        running = Slurm(folder, made)
        try:
            running.start()
            yield running
        finally:
            running.close()
