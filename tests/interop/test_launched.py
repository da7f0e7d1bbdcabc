"""`rendezvous exec` in torchrun's place, and what it starts: torch, torchrun, jax, accelerate."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Running, free_port
from support.torchrun import Job

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

EXAMPLES = Path(__file__).parents[2] / "examples" / "launchers"
# A node is lost after three intervals; who has enough nodes waits for more for a second.
CONF = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3"


@dataclass
class Node:
    """One exec, as Job knows its agents."""

    running: Running

    @property
    def pid(self) -> int:
        return self.running.process.pid

    @property
    def output(self) -> str:
        return self.running.stderr

    def close(self) -> None:
        self.running.close()


class Nodes:
    """The nodes of a job whose workers are those of the tests of torchrun."""

    def __init__(self, cli: Cli, job: Job, endpoint: str) -> None:
        self._cli = cli
        self._job = job
        self._endpoint = endpoint
        self.all: list[Node] = []

    def start(self, *options: str) -> Node:
        words = ("--run-id", "job", "--rdzv-conf", CONF, "--procs-per-node", "2", *options)
        script = ("--", sys.executable, str(self._job.script), str(self._job.folder))
        node = Node(self._cli.start_exec(self._endpoint, "2:4", *words, *script))
        self.all.append(node)
        return node

    def meet(self) -> list[dict[str, Any]]:
        """All of them, in a new round; each worker has added up ones with all others."""
        count = 2 * len(self.all)
        reports = self._job.meets(count, self.all)  # type: ignore[arg-type]
        assert sorted(report["rank"] for report in reports) == list(range(count))
        assert {report["sum"] for report in reports} == {count}
        for report in reports:
            env = report["env"]
            assert int(env["RANK"]) == 2 * int(env["GROUP_RANK"]) + int(env["LOCAL_RANK"])
            assert int(env["GROUP_WORLD_SIZE"]) == len(self.all)
        return reports


def test_four_nodes_of_two_processes_are_elastic_as_under_torchrun(cli: Cli, job: Job) -> None:
    """The script of the tests of torchrun, unchanged: a node is lost, a process fails, a node comes
    back; each time all that are there meet, and go on from the last step."""
    _, endpoint = cli.serve()
    nodes = Nodes(cli, job, endpoint)
    for _ in range(4):
        nodes.start("--max-restarts", "3")
    first = nodes.meet()

    lost = nodes.all.pop()
    lost.running.send(signal.SIGKILL)
    three = nodes.meet()
    assert all(report["from"] >= first[0]["from"] for report in three)

    victim = next(report for report in three if report["rank"] == 3)
    os.kill(victim["pid"], signal.SIGKILL)
    again = nodes.meet()
    assert not {report["pid"] for report in again} & {report["pid"] for report in three}
    failed = next(node for node in nodes.all if node.pid == victim["agent"])
    assert "rank 3 failed (exit code 137)" in failed.output
    assert "restart 1 of at most 3" in failed.output

    nodes.start("--max-restarts", "3")
    four = nodes.meet()
    assert len({report["from"] for report in four}) == 1
    assert four[0]["from"] > 0
    job.stop()
    assert [node.running.end() for node in nodes.all] == [0, 0, 0, 0]


def _run(cli: Cli, nodes: int, *words: str, script: str, **env: str) -> str:
    """What the commands of all nodes have written, which end with success."""
    endpoint = f"127.0.0.1:{free_port()}"
    running = [
        cli.start_exec(endpoint, str(nodes), *words, sys.executable, *script.split(), **env)
        for _ in range(nodes)
    ]
    codes = [each.end() for each in running]
    assert codes == [0] * nodes, "\n".join(each.stderr for each in running)
    return "".join(each.stdout for each in running)


def _sums(text: str) -> list[int]:
    """Of each rank's line, in order; the ranks are those of a whole world."""
    found = re.findall(r"rank (\d+) of (\d+).*?: the sum of all ranks is (\d+)", text)
    assert sorted(int(rank) for rank, _, _ in found) == list(range(len(found))), text
    assert {int(world) for _, world, _ in found} == {len(found)}
    return [int(total) for _, _, total in found]


def test_torch_without_torchrun(cli: Cli) -> None:
    """init_process_group as it is, under exec alone."""
    words = ("--procs-per-node", "2", "--")
    assert _sums(_run(cli, 2, *words, script=str(EXAMPLES / "train.py"))) == [6] * 4


def test_a_torchrun_that_exec_starts(cli: Cli) -> None:
    """It takes nodes, rank and address from what exec says."""
    script = f"-m torch.distributed.run --nproc-per-node 2 {EXAMPLES / 'train.py'}"
    assert _sums(_run(cli, 2, "--", script=script)) == [6] * 4


def test_a_plain_jax(cli: Cli) -> None:
    """jax.distributed.initialize() without arguments, as under Open MPI."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax")
    words = ("--procs-per-node", "2", "--mpi-env", "--")
    env = {"JAX_PLATFORMS": "cpu"}
    assert _sums(_run(cli, 2, *words, script=str(EXAMPLES / "train_jax.py"), **env)) == [6] * 4


ACCELERATE = """\
import os, torch
from accelerate import Accelerator
accelerator = Accelerator(cpu=True)
total = accelerator.reduce(torch.tensor([accelerator.process_index]), "sum")
os.write(1, (
    f"rank {accelerator.process_index} of {accelerator.num_processes}"
    f" ({accelerator.local_process_index}): the sum of all ranks is {int(total)}\\n"
).encode())
accelerator.end_training()
"""


def test_accelerate(cli: Cli, tmp_path: Path) -> None:
    """A script of accelerate's, without `accelerate launch`."""
    if importlib.util.find_spec("accelerate") is None:
        pytest.skip("needs accelerate")
    script = tmp_path / "accelerated.py"
    script.write_text(ACCELERATE)
    assert _sums(_run(cli, 2, "--procs-per-node", "2", "--", script=str(script))) == [6] * 4


# What deepspeed.init_distributed asks for before it would ask MPI, and what it sets up then.
DEEPSPEED = """\
import os, torch.distributed as dist
missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")
           if name not in os.environ]
assert not missing, missing
dist.init_process_group("gloo", init_method="env://")
objects = [None] * dist.get_world_size()
dist.all_gather_object(objects, dist.get_rank())
os.write(1, (f"rank {dist.get_rank()} of {dist.get_world_size()} "
             f"(local {os.environ['LOCAL_RANK']}): "
             f"the sum of all ranks is {sum(objects)}\\n").encode())
dist.destroy_process_group()
"""


def test_the_environment_of_deepspeed(cli: Cli, tmp_path: Path) -> None:
    """Simulated: DeepSpeed itself needs a compiler of CUDA to be installed."""
    script = tmp_path / "deep.py"
    script.write_text(DEEPSPEED)
    assert _sums(_run(cli, 2, "--procs-per-node", "2", "--", script=str(script))) == [6] * 4
