"""Programs that a launcher starts: this interpreter's `rendezvous`, and what its command shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.cli import environment

# Prints its ranks, and what the launcher says of them.
SHOW = """\
import os
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "SLURM_NODEID",
         "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
line = " ".join(name + "=" + os.environ.get(name, "") for name in names)
os.write(1, f"SHOW {line}\\n".encode())
"""


def shown(text: str) -> list[dict[str, str]]:
    """What SHOW has printed, of all processes."""
    lines = [line.partition("SHOW ")[2] for line in text.splitlines() if "SHOW " in line]
    return [dict(word.split("=", 1) for word in line.split()) for line in lines]


def start_program(argv: list[str], cwd: Path, **env: str) -> subprocess.Popen[str]:
    """With this interpreter's `rendezvous` first in PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment(PATH=path, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
