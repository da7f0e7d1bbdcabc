"""What SLURM, Kubernetes, MPI and PBS say of a job: read from their variables alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rendezvous.cli.run.environment import Local
from rendezvous.cli.run.surroundings import Surroundings, expand_hosts, look_around

STEP = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[03-04,07],login2",
    "SLURM_JOB_NODELIST": "gpu[01-09],login2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
    "SLURM_PROCID": "2",
    "SLURM_NODEID": "2",
    "SLURM_LOCALID": "0",
}


def found(environment: dict[str, str], full_name: str = "") -> Surroundings:
    around = look_around(environment, full_name)
    assert around is not None
    return around


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        ("one", ["one"]),
        ("a,b,c", ["a", "b", "c"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("gpu[08-11,20]-ib,login", [*(f"gpu{n:02}-ib" for n in (8, 9, 10, 11, 20)), "login"]),
        ("r[1-2]n[7,9]", ["r1n7", "r1n9", "r2n7", "r2n9"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[1-3,07-11],m5", [f"n{n}" for n in (1, 2, 3, "07", "08", "09", 10, 11)] + ["m5"]),
        (" a , b,", ["a", "b"]),
    ],
)
def test_lists_of_hosts_are_expanded(text: str, hosts: list[str]) -> None:
    """Numbers are as wide as the first of a range is written."""
    assert list(expand_hosts(text)) == hosts


def test_a_huge_range_costs_no_more_than_what_is_taken_of_it() -> None:
    """Of a list, the first host is all that is needed."""
    assert next(expand_hosts("n[1-99999999999]")) == "n1"


@pytest.mark.parametrize("hosts", ["n[", "n[1-2", "n[a-b]", "n[]", "n[1-]", "n[3-1]", ",", "n]1["])
def test_what_is_no_list_of_hosts_names_no_endpoint(hosts: str) -> None:
    """And is shown, as what is missing."""
    env = STEP | {"SLURM_STEP_NODELIST": hosts}
    assert found(env).endpoint == "gpu01:22345"
    around = found(env | {"SLURM_JOB_NODELIST": hosts})
    assert around.endpoint is None
    assert around.source == f"SLURM_JOB_NODELIST is {hosts!r}, not a list of hosts"
    assert around.nodes == 4


def test_numbers_that_cannot_be_are_not_taken() -> None:
    """No number of nodes is none, nobody is the third of two, and 5,000 digits are no number."""
    zero = {"SLURM_STEP_NUM_TASKS": "0", "SLURM_NTASKS": "0"}
    assert found(STEP | zero).nodes is None
    two = {"SLURM_STEP_TASKS_PER_NODE": "2(x4)"}
    assert found(STEP | two).beside == Local(0, 2)
    assert found(STEP | two | {"SLURM_LOCALID": "2"}).beside is None
    assert found(STEP | {"SLURM_PROCID": "9" * 5000, "SLURM_JOB_ID": "9" * 5000}).node is None
    assert look_around(OMPI | {"OMPI_COMM_WORLD_SIZE": "0"}, "host") is None
    assert found(OMPI | {"OMPI_COMM_WORLD_LOCAL_RANK": "4"}).beside is None


def test_a_step_of_slurm() -> None:
    """The first node of the step, and not of the job, hosts at a port of the job's own."""
    assert found(STEP) == Surroundings(
        "SLURM",
        endpoint="gpu03:22345",
        source="SLURM_STEP_NODELIST",
        nodes=4,
        node=2,
        is_host=False,
    )
    assert found(STEP | {"SLURM_PROCID": "0"}).is_host is True


def test_steps_and_jobs_of_slurm_have_ports_of_their_own() -> None:
    """They may share machines."""
    steps = [STEP | {"SLURM_STEP_ID": str(step)} for step in range(5)]
    jobs = [STEP | {"SLURM_JOB_ID": str(job)} for job in range(99_990, 100_010)]
    ports = {found(each).endpoint for each in (*steps, *jobs)}
    assert len(ports) == 25
    assert all(20000 <= int(str(port).rpartition(":")[2]) < 30000 for port in ports)


def test_several_tasks_of_slurm_on_one_machine() -> None:
    """Each is told its place on the machine."""
    tasks = {"SLURM_STEP_TASKS_PER_NODE": "2(x2),3", "SLURM_STEP_NUM_TASKS": "7"}
    third = STEP | tasks | {"SLURM_PROCID": "5", "SLURM_NODEID": "2", "SLURM_LOCALID": "1"}
    assert found(third).beside == Local(1, 3)
    assert found(third).nodes == 7


def test_a_batch_script_of_slurm_is_one_process() -> None:
    """With several nodes, nobody knows how many exec there will be."""
    script = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-4]", "SLURM_JOB_NUM_NODES": "4"}
    assert found(script).nodes is None
    assert found(script).is_host is None
    assert found(script | {"SLURM_JOB_NUM_NODES": "1"}).nodes == 1


def test_an_indexed_job_of_kubernetes() -> None:
    """The pod of index 0, by its name in the headless service."""
    env = {"JOB_COMPLETION_INDEX": "3"}
    pod = found(env, "train-3.train.ml.svc.cluster.local")
    assert pod.endpoint == "train-0.train.ml.svc.cluster.local:29400"
    assert (pod.node, pod.is_host, pod.nodes) == (3, False, None)
    assert found({"JOB_COMPLETION_INDEX": "0"}, "train-0.train.ml").is_host is True


@pytest.mark.parametrize(
    ("name", "missing"), [("train-3", "headless Service"), ("other-7.x", "JOB-3")]
)
def test_a_pod_that_has_no_such_name_is_told_what_is_missing(name: str, missing: str) -> None:
    """So that the error can be acted on."""
    pod = found({"JOB_COMPLETION_INDEX": "3"}, name)
    assert pod.endpoint is None
    assert missing in pod.source


OMPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "prterun-head-41@1",
}


def test_mpi_within_an_allocation() -> None:
    """The manager knows the machines; MPI, which process this is."""
    slurm = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    around = found(OMPI | slurm)
    assert around == Surroundings(
        "MPI",
        endpoint="n1:20012",
        source="SLURM_JOB_NODELIST",
        nodes=8,
        node=5,
        beside=Local(1, 4),
    )


def test_mpi_on_one_machine_and_on_several_that_nobody_names() -> None:
    """Loopback where all are; otherwise it is said that an endpoint is missing."""
    here = found(OMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "8"})
    assert here.endpoint is not None
    assert here.endpoint.startswith("127.0.0.1:2")
    other = found(OMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "8", "PMIX_NAMESPACE": "prterun-head-42@1"})
    assert other.endpoint != here.endpoint
    assert found(OMPI).endpoint is None
    hnp = {"OMPI_MCA_orte_hnp_uri": "3914.0;tcp://10.1.2.3,192.168.0.3:42101"}
    assert str(found(OMPI | hnp).endpoint).startswith("10.1.2.3:")


def test_hydra() -> None:
    """As MPICH and Intel MPI have it; PMI alone, as srun sets it, is no MPI."""
    hydra = {
        "PMI_RANK": "1",
        "PMI_SIZE": "2",
        "MPI_LOCALRANKID": "1",
        "MPI_LOCALNRANKS": "2",
    }
    assert found(hydra) == Surroundings(
        "MPI",
        endpoint=found(hydra).endpoint,
        source="all processes are on this machine",
        nodes=2,
        node=1,
        beside=Local(1, 2),
    )
    assert found(STEP | {"PMI_RANK": "1", "PMI_SIZE": "2"}).manager == "SLURM"


def test_pbs(tmp_path: Path) -> None:
    """Each machine of the node file once; the elements of an array have ports of their own."""
    file = tmp_path / "nodes"
    file.write_text("m1.site\nm1.site\nm2.site\nm3.site\n")
    env = {"PBS_JOBID": "417.head", "PBS_NODEFILE": str(file), "PBS_NODENUM": "1"}
    assert found(env) == Surroundings(
        "PBS", endpoint="m1.site:20417", source="PBS_NODEFILE", nodes=3, node=1
    )
    element = found(env | {"PBS_JOBID": "417[2].head"})
    assert element.endpoint != "m1.site:20417"
    assert found(env | {"PBS_NODEFILE": str(tmp_path / "gone")}).endpoint is None


@pytest.mark.parametrize("job", ["", "head", "417[].head", "[", "[3]"])
def test_odd_names_of_pbs_jobs_have_a_port_all_the_same(tmp_path: Path, job: str) -> None:
    """The array itself has no index, and who sets the node file by hand may have no job."""
    file = tmp_path / "nodes"
    file.write_text("m1\n")
    around = found({"PBS_JOBID": job, "PBS_NODEFILE": str(file)})
    assert around.endpoint == ("m1:20417" if job.startswith("417") else "m1:20000")


def test_nobody() -> None:
    """A plain shell."""
    assert look_around({"HOME": "/root"}, "host") is None


def test_what_was_found_is_said_in_one_line() -> None:
    """For the log."""
    assert str(found(STEP)) == (
        "SLURM: 4 nodes, this is node 2, the store is at gpu03:22345 (SLURM_STEP_NODELIST)"
    )
