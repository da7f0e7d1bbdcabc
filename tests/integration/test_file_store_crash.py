"""Writers of a FileStore that are killed at any moment lose nothing they acknowledged."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).with_name("file_store_crash.py")
# Rounds of three kills each; thousands in the long form.
RUNS = int(os.environ.get("RDZV_CRASH_RUNS", "100"))


@pytest.mark.parametrize("compact_bytes", ["1", "100000"])
def test_killed_writers_lose_nothing_they_acknowledged(tmp_path: Path, compact_bytes: str) -> None:
    """After SIGKILL the file holds all acknowledged writes, whole, though it is compacted often."""
    seed = str(random.SystemRandom().randrange(2**32))
    ended = subprocess.run(
        [sys.executable, str(HARNESS), str(tmp_path), str(RUNS), seed],
        env=os.environ | {"RENDEZVOUS_FILE_COMPACT_BYTES": compact_bytes},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"seed {seed}:\n{ended.stdout}{ended.stderr}"
    counts = re.search(r"(\d+) writers killed, (\d+) writes acknowledged", ended.stdout)
    assert counts is not None
    assert int(counts[1]) == 3 * RUNS
    assert int(counts[2]) > 0
