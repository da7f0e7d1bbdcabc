"""A process that ends while daemon threads use stores ends well: a job that is done is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rendezvous import Server

PROGRAM = Path(__file__).with_name("exit_daemons.py")
RUNS = 8


def run(kind: str, where: object, cwd: Path) -> tuple[int, str]:
    """The exit code, and what it wrote."""
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), kind, str(where)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    "kind", ["python", "prefix-python", "hash", "prefix-hash", "file", "tcp", "c10d"]
)
def test_daemon_threads_in_calls_do_not_change_the_exit_code(
    kind: str, server: Server, tmp_path: Path
) -> None:
    """In any call, of stores in Python and compiled ones; every time."""
    where: object = server.port if kind in ("tcp", "c10d") else tmp_path / "store"
    for _ in range(RUNS):
        code, text = run(kind, where, tmp_path)
        assert code == 0, text[-2000:]
