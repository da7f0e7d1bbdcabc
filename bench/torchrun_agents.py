"""How long do N torchrun agents need to meet, and what does it cost, beside torch's c10d?

    python bench/torchrun_agents.py [--short] [--runs N] [--agents N...] [--timeout S] [--json FILE]

The agents are processes that ask torch's registry of rendezvous for the back-end `rendezvous`, or
`c10d`, as torchrun does for --rdzv-backend, and join; the first of them serves the store. Measured
is from when all have imported what they need (they are forked from one process that has) to the end
of the last one's `next_rendezvous`, connecting and the workers' store included; and the processor
time that all of them, the server among them, spent up to then. Needs torch beside this package.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from _support.report import Cell, Report, alternating, arguments, parse, ratio
from _support.servers import (
    can_put_files_in_place,
    free_port,
    missing,
    torch_python,
    with_file_in_place,
)

AGENTS = Path(__file__).parent / "_support" / "agents.py"
BACKENDS = {"ours": "rendezvous", "torch": "c10d"}
COUNTS = [2, 16, 64]
SHORT = [2]
# After the agents' own timeout; this only turns a hang into an error.
BACKSTOP_S = 120.0


def measure(python: str, backend: str, agents: int, timeout_s: float) -> dict[str, float]:
    """Seconds and processor seconds of one round, at a port that nobody has used."""
    with ExitStack() as stack:
        words: list[str] = []
        if can_put_files_in_place():
            # As for other benchmarks: torch's server asks the name server about each client.
            text = "hosts: files\n"
            words = stack.enter_context(with_file_in_place("/etc/nsswitch.conf", text))
        words = [*words, python, str(AGENTS), backend, f"127.0.0.1:{free_port()}"]
        words += [uuid.uuid4().hex, str(agents), str(timeout_s)]
        done = subprocess.run(
            words, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout_s + BACKSTOP_S
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def has_ours(python: str) -> bool:
    """Whether torch's Python can load the plug-in."""
    code = "import rendezvous._core"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


def main() -> None:
    parser = arguments(__doc__, runs=5)
    parser.add_argument("--agents", type=int, nargs="+", default=None, help="how many agents")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds (default: 120)")
    options = parse(parser)
    report = Report(__doc__, options)
    python = torch_python()
    left_out = missing(["torch"])
    if python is not None and not has_ours(python):
        left_out = {"everything": f"{python}, which has torch, has not this package"}
    if python is None or left_out:
        report.left_out(left_out)
        report.finish()
        return
    rows: list[list[Cell]] = []
    for agents in options.agents or (SHORT if options.short else COUNTS):
        found = alternating(
            options.runs,
            {
                name: partial(measure, python, backend, agents, options.timeout)
                for name, backend in BACKENDS.items()
            },
        )
        row: list[Cell] = [f"{agents:,} agents"]
        for what in ("seconds", "cpu"):
            values = [found[name][what] for name in BACKENDS]
            to_torch = ratio(*values)
            row += [*values, to_torch]
            report.figure(f"torchrun_agents/{agents}/{what}/to_torch", to_torch)
        rows.append(row)
    report.table(
        "Until all have their rank: seconds, and processor seconds of all together",
        ["", "ours", "torch", "ours/torch", "CPU, ours", "CPU, torch", "ours/torch"],
        rows,
    )
    report.finish()


if __name__ == "__main__":
    main()
