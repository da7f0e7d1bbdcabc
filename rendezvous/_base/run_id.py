"""What a workload manager calls the job, which all its nodes are told and no other job is.

Pure but for reading what Kubernetes mounts. docs/cli.md has the same list.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_RUN_ID", "FoundRunId", "find_run_id"]

# Where a node of the job hosts the store.
DEFAULT_RUN_ID = "default"
# What has the number of a job, and nothing beside it.
_NUMBERS = {"PBS_JOBID": "pbs", "FLUX_JOB_ID": "flux"}
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class FoundRunId(NamedTuple):
    """A run id, and what says it. Both empty: nothing does."""

    run_id: str
    source: str


def find_run_id(
    environment: Mapping[str, str], hostname: str | None = None, namespace: Path = _NAMESPACE
) -> FoundRunId:
    """The run id of this process's job.

    Args:
        hostname: of the pod; default: this machine's.
        namespace: the file in which Kubernetes puts the pod's namespace.
    """
    job = environment.get("SLURM_JOB_ID")
    if job:
        # Each `srun` of a job has a step of its own; of a batch script there is one process.
        step = environment.get("SLURM_STEP_ID")
        return FoundRunId(f"slurm-{job}.{step}" if step else f"slurm-{job}", "SLURM_JOB_ID")
    if job := environment.get("LSB_JOBID"):
        # The elements of a job array have its number, and each an index from 1.
        element = environment.get("LSB_JOBINDEX", "0")
        return FoundRunId(f"lsf-{job}" if element == "0" else f"lsf-{job}.{element}", "LSB_JOBID")
    for name, manager in _NUMBERS.items():
        if number := environment.get(name):
            return FoundRunId(f"{manager}-{number}", name)
    # Nodes of one job differ after the #.
    if job := environment.get("AWS_BATCH_JOB_ID", "").partition("#")[0]:
        return FoundRunId(f"aws-batch-{job}", "AWS_BATCH_JOB_ID")
    index = environment.get("JOB_COMPLETION_INDEX")
    if index:
        # The pods of an Indexed Job are named after it.
        job, dash, own = (hostname or socket.gethostname()).partition(".")[0].rpartition("-")
        if job and dash and own == index:
            return FoundRunId(f"{_read(namespace)}{job}", "JOB_COMPLETION_INDEX and the host name")
    return FoundRunId("", "")


def _read(namespace: Path) -> str:
    try:
        return f"{namespace.read_text(encoding='utf-8').strip()}."
    except (OSError, UnicodeDecodeError):
        return ""
