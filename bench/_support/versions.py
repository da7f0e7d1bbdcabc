"""What a run of the benchmarks ran on: commit, processor, kernel, versions."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import rendezvous
from _support.servers import torch_python


@functools.cache
def _program(*words: str) -> str:
    """What a command prints, each asked once: torch takes seconds to say its version."""
    return _output(words)


def _output(words: Sequence[str]) -> str:
    """What a command prints, in a line; empty when it cannot."""
    if shutil.which(words[0]) is None:
        return ""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()) if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent)]
    commit = _output([*git, "rev-parse", "--short=12", "HEAD"])
    changed = _output([*git, "status", "--porcelain", "--untracked-files=no"])
    return commit + (" and changes that are not committed" if changed else "")


def versions() -> list[str]:
    """One line a fact."""
    python = torch_python()
    torch = _program(python, "-c", "import torch; print(torch.__version__)") if python else ""
    redis = _program("redis-server", "--version") or _program("valkey-server", "--version")
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"commit {_commit() or 'unknown'}, rendezvous {rendezvous.__version__}",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"load at the end {load}",
        f"Python {platform.python_version()}; torch {torch or 'not installed'}; "
        f"{' '.join(redis.split()[:3]) or 'Redis not installed'}; "
        f"{_program('memcached', '--version') or 'memcached not installed'}",
    ]
