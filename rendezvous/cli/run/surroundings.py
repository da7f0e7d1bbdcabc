"""What a workload manager says of a job: where its store may be, how many nodes it has, which one
this is.

Pure but for reading the node file of PBS and asking for this machine's name. docs/launchers.md has
the same table.
"""

from __future__ import annotations

import re
import socket
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rendezvous._base.host_list import expand_hosts
from rendezvous._base.text import counted
from rendezvous.cli.options import DEFAULT_PORT
from rendezvous.cli.run.environment import Local

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Surroundings", "look_around"]

# Ports of jobs on machines that they share: below those that systems hand out by themselves.
_PORT_FIRST, _PORTS = 20000, 10000
_STEP = 1009
_HOSTS_MAX = 100_000
# Of whatever these variables hold, a number is what a manager can have meant as one.
_DIGITS = "[0-9]{1,18}"


@dataclass(frozen=True)
class Surroundings:
    """What one of them says; None: what it does not say.

    Attributes:
        manager: its name.
        endpoint: where a node of the job can serve the store, as host:port.
        source: what the endpoint was found in, for the log; without one, what is missing for it.
        nodes: how many `exec` it has started.
        node: which of them this is, from 0.
        is_host: whether this one serves the store; None: the host's name tells.
        beside: the place of this one among those on this machine, where there are several.
    """

    manager: str
    endpoint: str | None = None
    source: str = ""
    nodes: int | None = None
    node: int | None = None
    is_host: bool | None = None
    beside: Local | None = None

    def __str__(self) -> str:
        words = []
        if self.nodes is not None:
            words.append(counted(self.nodes, "node"))
        if self.node is not None:
            words.append(f"this is node {self.node}")
        if self.endpoint is not None:
            words.append(f"the store is at {self.endpoint} ({self.source})")
        return f"{self.manager}: {', '.join(words)}"


def look_around(
    environment: Mapping[str, str], full_name: str | None = None
) -> Surroundings | None:
    """Who has started this process, the innermost one if several; None: nobody that is known.

    Args:
        full_name: of this machine, with its domain; default: what the system says.
    """
    return (
        _mpi(environment)
        or _slurm(environment)
        or _kubernetes(environment, full_name)
        or _pbs(environment)
    )


def _slurm(environment: Mapping[str, str]) -> Surroundings | None:
    job = environment.get("SLURM_JOB_ID")
    if not job:
        return None
    found = _at_slurms_place(Surroundings("SLURM"), environment)
    if not environment.get("SLURM_STEP_ID"):
        # A script of sbatch, or a shell of salloc: one process, however many nodes there are.
        alone = environment.get("SLURM_JOB_NUM_NODES", "1") == "1"
        return replace(found, nodes=1 if alone else None)
    node = _number(environment, "SLURM_PROCID")
    on_node = _number(environment, "SLURM_NODEID")
    counts = _counts(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    local, beside = _number(environment, "SLURM_LOCALID"), None
    if local is not None and on_node is not None and on_node < len(counts):
        beside = _beside(local, counts[on_node])
    return replace(
        found,
        nodes=_number(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") or None,
        node=node,
        is_host=None if node is None else node == 0,
        beside=beside,
    )


def _at_slurms_place(found: Surroundings, environment: Mapping[str, str]) -> Surroundings:
    """With the endpoint, and its source."""
    source = "SLURM_JOB_NODELIST is not set"
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"):
        if not (hosts := environment.get(name)):
            continue
        try:
            first = next(expand_hosts(hosts), "")
        except ValueError:
            first = ""
        if first:
            step = _number(environment, "SLURM_STEP_ID") or 0
            port = _port(_number(environment, "SLURM_JOB_ID") or 0, step)
            return replace(found, endpoint=f"{first}:{port}", source=name)
        source = f"{name} is {hosts!r}, not a list of hosts"
    return replace(found, source=source)


def _kubernetes(environment: Mapping[str, str], full_name: str | None) -> Surroundings | None:
    index = environment.get("JOB_COMPLETION_INDEX", "")
    if not index.isdecimal():
        return None
    found = Surroundings("Kubernetes", node=int(index), is_host=index == "0")
    own, dot, domain = (full_name or socket.getfqdn()).partition(".")
    job, dash, last = own.rpartition("-")
    if not dash or last != index:
        return replace(found, source=f"the pod's host name is {own!r}, and not JOB-{index}")
    if not dot:
        return replace(
            found,
            source="the pod has no domain: give the Job's pod template a `subdomain`, and make a "
            "headless Service of this name",
        )
    endpoint = f"{job}-0.{domain}:{DEFAULT_PORT}"
    return replace(found, endpoint=endpoint, source="JOB_COMPLETION_INDEX and the host name")


def _mpi(environment: Mapping[str, str]) -> Surroundings | None:
    node = _number(environment, "OMPI_COMM_WORLD_RANK")
    nodes = _number(environment, "OMPI_COMM_WORLD_SIZE")
    local = _number(environment, "OMPI_COMM_WORLD_LOCAL_RANK")
    size = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    if node is None and "MPI_LOCALRANKID" in environment:  # of hydra, as MPICH and Intel have it
        node, nodes = _number(environment, "PMI_RANK"), _number(environment, "PMI_SIZE")
        local = _number(environment, "MPI_LOCALRANKID")
        size = _number(environment, "MPI_LOCALNRANKS")
    if node is None or not nodes:
        return None
    beside = None if local is None or size is None else _beside(local, size)
    found = Surroundings("MPI", nodes=nodes, node=node, beside=beside)
    if environment.get("SLURM_JOB_ID"):
        return _at_slurms_place(found, environment)
    if environment.get("PBS_NODEFILE"):
        return _at_pbs_place(found, environment)
    job = environment.get("PMIX_NAMESPACE") or environment.get("OMPI_MCA_ess_base_jobid", "")
    port = _port(zlib.crc32(job.encode()))
    if size == nodes:
        source = "all processes are on this machine"
        return replace(found, endpoint=f"127.0.0.1:{port}", source=source)
    for name in ("OMPI_MCA_orte_hnp_uri", "PMIX_SERVER_URI41", "PMIX_SERVER_URI4"):
        # Of mpirun itself, on whose machine there are processes, too, if nothing else was asked.
        address = re.search(r"tcp4?://(\d+\.\d+\.\d+\.\d+)", environment.get(name, ""))
        if address and not address[1].startswith("127."):
            return replace(found, endpoint=f"{address[1]}:{port}", source=name)
    return replace(found, source="MPI does not say on which machine a process of the job is")


def _pbs(environment: Mapping[str, str]) -> Surroundings | None:
    if not environment.get("PBS_NODEFILE"):
        return None
    node = _number(environment, "PBS_NODENUM")
    found = Surroundings("PBS", nodes=len(_pbs_hosts(environment)) or None, node=node)
    return _at_pbs_place(found, environment)


def _at_pbs_place(found: Surroundings, environment: Mapping[str, str]) -> Surroundings:
    hosts = _pbs_hosts(environment)
    if not hosts:
        return replace(found, source="the file that PBS_NODEFILE names has no hosts")
    # `123.server`, or `123[4].server` for an element of an array.
    name = re.match(rf"({_DIGITS})(?:\[({_DIGITS})\])?", environment.get("PBS_JOBID", ""))
    port = _port(*(int(each or 0) for each in name.groups())) if name else _port(0)
    return replace(found, endpoint=f"{hosts[0]}:{port}", source="PBS_NODEFILE")


def _pbs_hosts(environment: Mapping[str, str]) -> list[str]:
    """Each once, in order."""
    try:
        text = Path(environment["PBS_NODEFILE"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return list(dict.fromkeys(text.split()))


def _port(job: int, part: int = 0) -> int:
    return _PORT_FIRST + (job + _STEP * part) % _PORTS


def _beside(local: int, size: int) -> Local | None:
    return Local(local, size) if local < size and size > 1 else None


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = environment.get(name, "")
        if re.fullmatch(_DIGITS, text):
            return int(text)
    return None


def _counts(text: str) -> list[int]:
    """`2(x3),1` as 2, 2, 2, 1."""
    counts: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(rf"({_DIGITS})(?:\(x({_DIGITS})\))?", part)
        if match is None or int(match[2] or 1) > _HOSTS_MAX:
            return []
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
