"""Ranks of processes where the nodes of a round run several, and what the processes are told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rendezvous import HashStore, PrefixStore, RendezvousInfo, RendezvousStoreInfo
from rendezvous._base.errors import RendezvousTimeoutError
from rendezvous.cli.main import parse
from rendezvous.cli.run.devices import count_gpus
from rendezvous.cli.run.environment import Local, Told, command_environment
from rendezvous.cli.run.exec_ import use_surroundings
from rendezvous.cli.run.ranks import Ranks, agree_on_ranks


def info(store: HashStore, rank: int, nodes: int) -> RendezvousInfo:
    where = RendezvousStoreInfo("10.0.0.1", 29511)
    return RendezvousInfo(PrefixStore("round", store), rank, nodes, where, 3)


def test_ranks_follow_those_of_the_nodes() -> None:
    """Each node's processes have ranks side by side, whatever their number; all hear one port."""
    counts = [2, 1, 8, 3]
    store = HashStore()
    with ThreadPoolExecutor(len(counts)) as pool:
        calls = [
            pool.submit(agree_on_ranks, info(store, rank, 4), count, 7000 + rank, lambda: False, 60)
            for rank, count in enumerate(counts)
        ]
        found = [call.result() for call in calls]
    assert found == [Ranks(0, 2, 14, 7000), Ranks(2, 1, 14, 7000), Ranks(3, 8, 14, 7000),
                     Ranks(11, 3, 14, 7000)]  # fmt: skip


def test_a_round_that_breaks_meanwhile_is_left() -> None:
    """Nobody waits for the number of a node that is gone."""
    looks = iter([False, True])
    assert agree_on_ranks(info(HashStore(), 0, 2), 1, 0, lambda: next(looks), 60) is None


@pytest.mark.parametrize(
    ("rank", "text"), [(0, "rank 1 have not said"), (1, "rank 0 has not said")]
)
def test_the_timeout_says_whose_number_is_missing(rank: int, text: str) -> None:
    """As of a node that is no exec."""
    with pytest.raises(RendezvousTimeoutError, match=text):
        agree_on_ranks(info(HashStore(), rank, 2), 1, 0, lambda: False, 0.1)


def told(ranks: Ranks, base: dict[str, str] | None = None, beside: Local | None = None) -> Told:
    return Told(
        base=base or {},
        info=info(HashStore(), 1, 3),
        ranks=ranks,
        run_id="job",
        endpoint="tcp://node0:29400/runs/job",
        bootstrap_store=True,
        restarts_max=4,
        beside=beside,
    )


def test_a_process_is_told_what_torchrun_tells() -> None:
    """The same names with the same meanings; a process of several is no default for torchrun."""
    outer = {"PET_NNODES": "9", "KEEP": "me", "JAX_PROCESS_ID": "7"}
    environment = command_environment(told(Ranks(2, 4, 9, 7001), outer), 3)
    expected = {
        "RANK": "5",
        "WORLD_SIZE": "9",
        "LOCAL_RANK": "3",
        "LOCAL_WORLD_SIZE": "4",
        "NODE_RANK": "1",
        "NNODES": "3",
        "GROUP_RANK": "1",
        "GROUP_WORLD_SIZE": "3",
        "ROLE_NAME": "default",
        "ROLE_RANK": "5",
        "ROLE_WORLD_SIZE": "9",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29511",
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": "job",
        "TORCHELASTIC_RESTART_COUNT": "2",
        "TORCHELASTIC_MAX_RESTARTS": "4",
        "JAX_COORDINATOR_ADDRESS": "10.0.0.1:7001",
        "JAX_NUM_PROCESSES": "9",
        "JAX_PROCESS_ID": "5",
        "KEEP": "me",
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert not [key for key in environment if key.startswith("PET_")]


def test_one_process_a_node_may_be_a_torchrun() -> None:
    """Which takes these for its options."""
    environment = command_environment(told(Ranks(1, 1, 3, 0), {"OMP_NUM_THREADS": "5"}), 0)
    expected = {
        "PET_NNODES": "3",
        "PET_NODE_RANK": "1",
        "PET_MASTER_ADDR": "10.0.0.1",
        "PET_MASTER_PORT": "29511",
        "OMP_NUM_THREADS": "5",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert "JAX_COORDINATOR_ADDRESS" not in environment


def test_one_of_several_that_a_manager_started_on_this_machine() -> None:
    """Its place among them is its local rank."""
    environment = command_environment(told(Ranks(1, 1, 3, 0), beside=Local(2, 8)), 0)
    assert (environment["LOCAL_RANK"], environment["LOCAL_WORLD_SIZE"]) == ("2", "8")


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        ({}, 3),
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c,GPU-d"}, 3),
    ],
)
def test_gpus_are_counted_without_a_library(
    tmp_path: Path, visible: dict[str, str], count: int
) -> None:
    """Those that a program would see."""
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia7", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert count_gpus(visible, tmp_path) == count


def test_gpus_of_amd(tmp_path: Path) -> None:
    """Nodes of the topology that compute graphics; processors are listed there, too."""
    (tmp_path / "dev").mkdir()
    assert count_gpus({}, tmp_path) == 0
    (tmp_path / "dev" / "kfd").touch()
    for number, simds in enumerate((0, 256, 256)):
        node = tmp_path / "sys/class/kfd/kfd/topology/nodes" / str(number)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 8\nsimd_count {simds}\n")
    assert count_gpus({}, tmp_path) == 2
    assert count_gpus({"HIP_VISIBLE_DEVICES": "1"}, tmp_path) == 1


@pytest.mark.parametrize(
    ("words", "config", "expected"),
    [
        ([], {}, {"rank_by": "given", "rank": "2"}),
        (["--rank-by", "given"], {}, {"rank": "2"}),
        (["--rank-by", "join"], {}, {}),
        ([], {"rank_by": "address"}, {"rank_by": "address"}),
        (["--nodes", "4"], {}, {}),
    ],
)
def test_a_manager_that_starts_all_nodes_gives_their_ranks(
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    config: dict[str, str],
    expected: dict[str, str],
) -> None:
    """Unless the user says otherwise, or how many nodes there are."""
    for name, value in (
        ("SLURM_JOB_ID", "5"), ("SLURM_STEP_ID", "0"), ("SLURM_STEP_NODELIST", "n[3-6]"),
        ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "2"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "RENDEZVOUS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    use_surroundings(parse(["exec", *words, "--", "x"]), config)
    assert config == expected | {"is_host": "0"}
