"""Runs every benchmark and writes RESULTS.md, with plots in plots/.

    python bench/run_all.py [--short] [--only NAME...] [--results FILE]

`nox -s bench` builds what it needs and calls it. --short runs each for a moment, so that a change
that breaks one is found out, and writes no file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import targets
from _support.driver import tool
from _support.plots import draw
from _support.versions import versions

HERE = Path(__file__).parent
# In the order of RESULTS.md. Each is a file of this folder and takes --short and --json.
BENCHMARKS = (
    "rendezvous_nodes",
    "handlers",
    "reform",
    "start",
    "barrier",
    "operations",
    "memory",
    "nameserver",
    "tcpstore",
    "hashstore",
    "filestore",
)


def run_one(name: str, short: bool, folder: Path) -> dict[str, Any] | None:
    """What one benchmark found; None when it failed, which it said."""
    found = folder / f"{name}.json"
    words = [sys.executable, str(HERE / f"{name}.py"), "--json", str(found)]
    begin = time.monotonic()
    done = subprocess.run(words + (["--short"] if short else []), check=False)
    print(f"[{name}: {time.monotonic() - begin:.0f} s]\n", flush=True)
    if done.returncode != 0 or not found.exists():
        return None
    result: dict[str, Any] = json.loads(found.read_text())
    return result


def write(path: Path, results: dict[str, dict[str, Any]], failed: list[str]) -> None:
    """RESULTS.md and its plots."""
    figures = {key: value for each in results.values() for key, value in each["figures"].items()}
    parts = [
        "# Results",
        "Written by `nox -s bench`; medians of runs in turn, loopback. Compare ratios, not times: "
        "a busy machine slows all. Tables say what each figure is.",
        "\n".join(f"* {line}" for line in versions()),
        "## What the project promises",
        targets.table(figures),
    ]
    for name, each in results.items():
        parts += [f"## {each['title']}", f"`{name}.py`"]
        for plot, data in each["plots"].items():
            if draw(data, path.parent / "plots" / f"{plot}.svg"):
                parts.append(f"![{data['title']}](plots/{plot}.svg)")
        parts += each["blocks"]
    if failed:
        parts.append("Failed: " + ", ".join(failed) + ".")
    path.write_text("\n\n".join(parts) + "\n")
    print(targets.table(figures))
    print(f"\nwritten to {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a moment each; writes no file")
    known = [name for name in BENCHMARKS if (HERE / f"{name}.py").exists()]
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="which")
    parser.add_argument("--results", type=Path, default=None, help="where to (RESULTS.md here)")
    options = parser.parse_args()
    tool("load_driver")
    with tempfile.TemporaryDirectory() as folder:
        found = {name: run_one(name, options.short, Path(folder)) for name in options.only}
    results = {name: each for name, each in found.items() if each is not None}
    failed = [name for name, each in found.items() if each is None]
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    if options.results or not options.short:
        write(options.results or HERE / "RESULTS.md", results, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
