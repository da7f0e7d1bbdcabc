"""How many processes `--procs-per-node auto` means: the GPUs that a program would see.

Looks where the drivers tell, which costs nothing; asks no library.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["count_cpus", "count_gpus"]

# Which devices a program shall see: the kinds of one maker, the strictest first.
_VISIBLE_NVIDIA = ("CUDA_VISIBLE_DEVICES",)
_VISIBLE_AMD = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def count_gpus(environment: Mapping[str, str], root: Path = Path("/")) -> int:
    """Of this machine, without those that the environment hides from programs; 0: none.

    Args:
        root: of the file system.
    """
    for names, count in ((_VISIBLE_NVIDIA, _nvidia(root)), (_VISIBLE_AMD, _amd(root))):
        if count:
            return min(
                [count, *(_visible(environment[name]) for name in names if name in environment)]
            )
    return 0


def count_cpus() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _visible(text: str) -> int:
    """How many a list names: up to the first that there cannot be, as the drivers read it."""
    count = 0
    for part in text.split(","):
        if not part.strip() or part.strip().startswith("-"):
            break
        count += 1
    return count


def _nvidia(root: Path) -> int:
    """Those that this process may open: a container has only some of them in /dev."""
    try:
        return sum(
            re.fullmatch(r"nvidia\d+", path.name) is not None for path in (root / "dev").iterdir()
        )
    except OSError:
        return 0


def _amd(root: Path) -> int:
    if not (root / "dev" / "kfd").exists():
        return 0
    count = 0
    for path in (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"):
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        # A processor has none.
        count += re.search(r"^simd_count [1-9]", text, re.MULTILINE) is not None
    return count
