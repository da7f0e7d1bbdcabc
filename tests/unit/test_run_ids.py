"""What a workload manager calls the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from rendezvous._base.run_id import find_run_id


@pytest.mark.parametrize(
    ("environment", "run_id"),
    [
        ({"SLURM_JOB_ID": "7"}, "slurm-7"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, "slurm-7.0"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1", "PBS_JOBID": "x"}, "slurm-7.1"),
        ({"LSB_JOBID": "8"}, "lsf-8"),
        ({"LSB_JOBID": "8", "LSB_JOBINDEX": "0"}, "lsf-8"),
        ({"LSB_JOBID": "8", "LSB_JOBINDEX": "3"}, "lsf-8.3"),
        ({"PBS_JOBID": "9.head"}, "pbs-9.head"),
        ({"FLUX_JOB_ID": "f1"}, "flux-f1"),
        ({"AWS_BATCH_JOB_ID": "1ab"}, "aws-batch-1ab"),
        ({"AWS_BATCH_JOB_ID": "1ab#0"}, "aws-batch-1ab"),
        ({"AWS_BATCH_JOB_ID": "1ab#12"}, "aws-batch-1ab"),
        ({"SLURM_JOB_ID": ""}, ""),
        ({}, ""),
    ],
)
def test_all_nodes_of_a_job_find_the_same_and_other_jobs_do_not(
    environment: dict[str, str], run_id: str
) -> None:
    """Steps of a SLURM job and elements of an array are jobs of their own; nodes are none."""
    found = find_run_id(environment)
    assert found.run_id == run_id
    assert bool(found.source) == bool(run_id)


@pytest.mark.parametrize(
    ("index", "hostname", "run_id"),
    [
        ("0", "train-0", "team-a.train"),
        ("11", "train-b-11", "team-a.train-b"),
        ("1", "train-1.workers.team-a.svc", "team-a.train"),
        ("1", "another", ""),
        ("1", "train-2", ""),
        ("", "train-2", ""),
    ],
)
def test_the_pods_of_an_indexed_job_are_named_after_it(
    tmp_path: Path, index: str, hostname: str, run_id: str
) -> None:
    """With the name space, as two teams may call their jobs the same."""
    namespace = tmp_path / "namespace"
    namespace.write_text("team-a\n")
    found = find_run_id({"JOB_COMPLETION_INDEX": index}, hostname, namespace)
    assert found.run_id == run_id


def test_without_the_name_space_the_jobs_name_is_all(tmp_path: Path) -> None:
    """A pod may be told not to mount it."""
    found = find_run_id({"JOB_COMPLETION_INDEX": "0"}, "train-0", tmp_path / "none")
    assert found.run_id == "train"
