"""SLURM and MPI, as docs/launchers.md has them; real ones, if installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import slurm as _slurm
from support.cli import BACKSTOP_S, environment
from support.launchers import SHOW, shown, start_program
from support.slurm import Slurm, slurm

LAUNCHERS = Path(__file__).parents[2] / "examples" / "launchers"
BENCH = ["rendezvous", "bench", "--cluster", "quick", "--report", "report.json"]


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A SLURM of four nodes."""
    missing = _slurm.why_not()
    if missing:
        pytest.skip(missing)
    with slurm(tmp_path_factory.mktemp("slurm"), 4) as made:
        yield made


def srun(cluster: Slurm, cwd: Path, *words: str) -> subprocess.Popen[str]:
    command = [*cluster.before, "srun", "--chdir", str(cwd), "--kill-on-bad-exit=0", *words]
    return start_program(command, cwd, **cluster.env)


def test_slurm(cluster: Slurm, tmp_path: Path) -> None:
    """`srun rendezvous exec -- COMMAND` is enough: RANK is SLURM_NODEID, and with two processes a
    node, the ranks follow it."""
    command = ["rendezvous", "exec", "--procs-per-node", "2", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *command) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    found = shown(text)
    assert sorted(int(each["RANK"]) for each in found) == list(range(8))
    for each in found:
        assert each["GROUP_RANK"] == each["SLURM_NODEID"]
        node = 2 * int(each["SLURM_NODEID"])
        assert int(each["RANK"]) == node + int(each["LOCAL_RANK"])
    assert "SLURM: 4 nodes, this is node 3, the store is at n0:2" in text

    alone = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *alone) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert sorted(each["RANK"] for each in shown(text)) == list("0123"), text
    assert all(each["RANK"] == each["SLURM_NODEID"] for each in shown(text))


def test_slurm_with_several_tasks_a_node(cluster: Slurm, tmp_path: Path) -> None:
    """Each task is a node of the run, and knows its place on its machine."""
    command = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=2", "-N2", *command) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert all(each["RANK"] == each["SLURM_PROCID"] for each in shown(text)), text
    places = Counter(
        (each["SLURM_NODEID"], each["LOCAL_RANK"], each["LOCAL_WORLD_SIZE"], each["WORLD_SIZE"])
        for each in shown(text)
    )
    assert places == Counter((node, rank, "2", "4") for node in "01" for rank in "01")


def test_two_steps_of_one_job_do_not_meet(cluster: Slurm, tmp_path: Path) -> None:
    """They run side by side on the same nodes."""
    script = tmp_path / "script.sh"
    step = f"srun -n2 -N2 --overlap rendezvous exec -- {sys.executable} -c '{SHOW}' &"
    script.write_text(f"#!/bin/bash\n{step}\n{step}\nwait\n")
    script.chmod(0o755)
    job = [*cluster.before, "salloc", "-N2", "-n4", str(script)]
    with start_program(job, tmp_path, **cluster.env) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert Counter(each["RANK"] for each in shown(text)) == {"0": 2, "1": 2}, text
    assert {each["WORLD_SIZE"] for each in shown(text)} == {"2"}


def test_the_batch_script_is_what_sbatch_takes(cluster: Slurm) -> None:
    """As SLURM itself reads it."""
    done = subprocess.run(
        [*cluster.before, "sbatch", "--test-only", str(LAUNCHERS / "slurm.sbatch")],
        env=environment(**cluster.env),
        capture_output=True,
        check=False,
        timeout=BACKSTOP_S,
    )
    assert b"to start at" in done.stderr, done.stderr


def test_mpi(tmp_path: Path) -> None:
    """mpirun of Open MPI, which says which process each is; all on this machine."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed (Debian: apt-get install openmpi-bin)")
    words = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "4"]
    command = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with start_program([*words, *command], tmp_path) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    found = shown(text)
    assert sorted(each["RANK"] for each in found) == list("0123"), text
    assert all(each["LOCAL_RANK"] == each["OMPI_COMM_WORLD_LOCAL_RANK"] for each in found)
    assert all(each["RANK"] == each["OMPI_COMM_WORLD_RANK"] for each in found)
    assert {(each["WORLD_SIZE"], each["LOCAL_WORLD_SIZE"]) for each in found} == {("4", "4")}
    assert "MPI: 4 nodes" in text


def test_slurms_network_is_measured(cluster: Slurm, tmp_path: Path) -> None:
    """`srun rendezvous bench --cluster` is enough."""
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *BENCH) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert measured(tmp_path, text) == ("SLURM", 4)


def test_mpis_network_is_measured(tmp_path: Path) -> None:
    """The same by mpirun."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed (Debian: apt-get install openmpi-bin)")
    words = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3"]
    with start_program([*words, *BENCH], tmp_path) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert measured(tmp_path, text) == ("MPI", 3)


def measured(tmp_path: Path, text: str) -> tuple[str, int]:
    """Which launcher the one report says, and how many nodes are in it."""
    (line,) = [line for line in text.splitlines() if line.endswith(", quick")]
    report = json.loads((tmp_path / "report.json").read_text())
    assert line.startswith(f"{len(report['nodes'])} nodes, {report['launcher']}")
    return report["launcher"], len(report["nodes"])
