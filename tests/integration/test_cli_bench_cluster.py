"""`rendezvous bench --cluster`: one report by real processes, and what it does not tell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.cli import Cli, free_port

KINDS = {"set 64", "get 64", "set 65536", "get 65536", "add, one key for all"}


def _check(path: Path, nodes: int, launcher: str) -> None:
    report = json.loads(path.read_text())
    assert (report["mode"], report["world_size"], report["launcher"]) == ("quick", nodes, launcher)
    assert len(report["nodes"]) == nodes
    for node in report["nodes"]:
        assert set(node["calls"]) == KINDS
        for found in (node["meet"], node["barrier"], node["exchange"], *node["calls"].values()):
            assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
        assert node["meet"]["count"] == report["plan"]["rounds"]
        assert node["manifest"]["rendezvous"]


def test_within_exec_rank_0_makes_one_report(cli: Cli, tmp_path: Path) -> None:
    """Each node starts the same line; nothing is left in the store, and no host is named."""
    _, endpoint = cli.serve()
    path = tmp_path / "report.json"
    words = ("--run-id", "b", "--", sys.executable, "-m", "rendezvous", "bench", "--cluster",
             "--report", str(path))  # fmt: skip
    nodes = [cli.start_exec(endpoint, "3", *words) for _ in range(3)]
    assert [node.end() for node in nodes] == [0, 0, 0], [node.stderr for node in nodes]
    _check(path, 3, "rendezvous exec")
    assert "127.0.0.1" not in path.read_text()
    (shown,) = [node.stdout for node in nodes if node.stdout]
    assert shown.startswith("3 nodes, rendezvous exec, quick\n")
    assert "rendezvous  " in shown
    keys = cli.run("keys", "--endpoint", endpoint).stdout.decode()
    assert "bench/" not in keys.replace("rendezvous-bench", "")


def test_with_an_endpoint_and_a_number_of_nodes(cli: Cli, tmp_path: Path) -> None:
    """One of them hosts the store."""
    path = tmp_path / "report.json"
    words = ("bench", "--cluster", "quick", "--endpoint", f"127.0.0.1:{free_port()}",
             "--nodes", "2", "--report", str(path))  # fmt: skip
    nodes = [cli.start(*words) for _ in range(2)]
    assert [node.end() for node in nodes] == [0, 0], [node.stderr for node in nodes]
    _check(path, 2, "none")


def test_a_dry_run_connects_to_nothing(cli: Cli) -> None:
    """It says what would be done, and by whom."""
    env = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[01-04]",
        "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2",
    }  # fmt: skip
    done = cli.run("bench", "--cluster", "dry-run", stdin=b"", **env)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.decode().splitlines()
    assert first.startswith("launcher: SLURM; 4 nodes meet at gpu01:")
    assert first.endswith("this one has rank 2")
    assert rest[0].startswith("quick: 3 rounds")
    assert rest[1].startswith("full: 20 rounds")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "start this on every node"),
        (("quik",), "quik"),
        (("quick", "--nodes", "many"), "--nodes"),
    ],
)
def test_wrong_arguments(cli: Cli, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and what to do."""
    done = cli.run("bench", "--cluster", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()
