"""Runs the load driver (csrc/tools) and reads what it found.

The tools are built with `cmake -DRDZV_TOOLS=ON`; `nox -s bench` does that. They are looked for in
$RDZV_BENCH_TOOLS, then in build/release.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

_BUILT = Path(__file__).parents[2] / "build" / "release" / "csrc" / "tools"
_NO_TOOLS = (
    "the load driver is not built: run `nox -s bench`, or build it with "
    "`cmake --preset release -DRDZV_TOOLS=ON && cmake --build --preset release`"
)
# The driver ends by its own --timeout; this only turns a hang into a failure.
_BACKSTOP_S = 30.0

Found = dict[str, Any]


class DriverError(RuntimeError):
    """The driver could not do what it was asked to; says what it printed."""


def tool(name: str) -> str:
    """The path of a built tool. Raises SystemExit, with how to build it."""
    path = Path(os.environ.get("RDZV_BENCH_TOOLS", _BUILT)) / name
    if not path.exists():
        raise SystemExit(f"{path}: {_NO_TOOLS}")
    return str(path)


def raise_file_limit() -> int:
    """As many open files as are allowed, for this process and those it starts; how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_limit() -> int:
    """How many connections a server of this machine can have open, beside a few files.

    The driver is not what limits them: it starts another process for more.
    """
    return raise_file_limit() - 100


def connections_max(wanted: list[int]) -> list[int]:
    """Those of `wanted` that a server of this machine can have open."""
    limit = connections_limit()
    return [count for count in wanted if count <= limit] or [limit]


def drive(scenario: str, port: int, pid: int, *, timeout: float = 120, **options: object) -> Found:
    """Run a scenario against a server and return the driver's figures.

    `options` are the driver's, with `_` for `-`. Raises DriverError when it fails.
    """
    words = [tool("load_driver"), scenario, "--port", str(port), "--server-pid", str(pid)]
    words += ["--timeout", str(timeout)]
    for name, value in options.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout + _BACKSTOP_S, check=False
    )
    if done.returncode != 0:
        raise DriverError(f"{' '.join(words[1:])}: {done.stderr.strip() or done.stdout.strip()}")
    found: Found = json.loads(done.stdout)
    return found
