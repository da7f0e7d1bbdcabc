"""Runs every benchmark and writes RESULTS.md, with plots in plots/.

    python bench/run_all.py [--short] [--runs N] [--only NAME...] [--results FILE]

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

import picture
import targets
from _support.driver import tool
from _support.plots import draw
from _support.report import WIDE_MEANS
from _support.versions import versions

HERE = Path(__file__).parent
# In the order of RESULTS.md. Each is a file of this folder and takes --short and --json.
BENCHMARKS = (
    "rendezvous_nodes",
    "handlers",
    "torchrun_agents",
    "etcd_nodes",
    "reform",
    "start",
    "barrier",
    "ids",
    "operations",
    "memory",
    "monitor",
    "tls",
    "strangers",
    "nameserver",
    "aio",
    "tcpstore",
    "hashstore",
    "filestore",
    "large_values",
    "hostile",
)


def wait_for_ports(few: int = 5_000, patience_s: float = 90) -> None:
    """Until the kernel has forgotten most closed connections, which hold this machine's ports."""
    table = Path("/proc/net/sockstat")
    end = time.monotonic() + patience_s
    while table.exists() and time.monotonic() < end:
        words = table.read_text().split()
        if int(words[words.index("tw") + 1]) <= few:
            return
        time.sleep(1)


def run_one(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any] | None:
    """What one benchmark found; None when it failed, which it said."""
    found = folder / f"{name}.json"
    words = [sys.executable, str(HERE / f"{name}.py"), "--json", str(found)]
    words += ["--short"] if options.short else []
    words += ["--runs", str(options.runs)] if options.runs else []
    begin = time.monotonic()
    done = subprocess.run(words, check=False)
    print(f"[{name}: {time.monotonic() - begin:.0f} s]\n", flush=True)
    if done.returncode != 0 or not found.exists():
        return None
    result: dict[str, Any] = json.loads(found.read_text())
    return result


def figures_of(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures of all benchmarks, by name."""
    return {key: value for each in results.values() for key, value in each["figures"].items()}


def write(path: Path, results: dict[str, dict[str, Any]], failed: list[str]) -> None:
    """RESULTS.md and its plots."""
    parts = [
        "# Results",
        "Written by `nox -s bench`; medians of runs in turn, loopback. Compare ratios, not times: "
        "a busy machine slows all. Tables say what each figure is.",
        WIDE_MEANS,
        "\n".join(f"* {line}" for line in versions()),
        "## What the project promises",
        targets.table(figures_of(results)),
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


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a moment each; writes no file")
    known = [name for name in BENCHMARKS if (HERE / f"{name}.py").exists()]
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="which")
    parser.add_argument("--results", type=Path, default=None, help="where to (RESULTS.md here)")
    parser.add_argument("--runs", type=int, default=None, help="of each (default: its own)")
    options = parser.parse_args()
    tool("load_driver")
    path = options.results or (None if options.short else HERE / "RESULTS.md")
    if path is not None:
        # Before anything is measured: nothing shall be lost in the end.
        path.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            wait_for_ports()
            found = run_one(name, options, Path(folder))
            if found is None:
                failed.append(name)
            else:
                results[name] = found
            # After each, so that a run that is stopped leaves what it has found.
            if path is not None:
                write(path, results, failed)
    # A moment of each says nothing about promises.
    if not options.short:
        print(targets.table(figures_of(results)))
    if path is not None:
        print(f"\nwritten to {path}")
    if path == picture.RESULTS and "handlers" in results:
        picture.draw_all()
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
