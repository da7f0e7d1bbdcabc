"""How much longer does a client wait for its answers while strangers trouble the server?

    python bench/strangers.py [--short] [--runs N] [--json FILE]

The client has the token, one connection and one request in flight; what counts is the 99th
percentile of its gets, beside the same without trouble. Trouble is: 5,000 slow connections; 10,000
handshakes that end half way, begun with words that were overheard; random bytes, as fast as one
process sends them; and another client with the token that asks for 64 KiB 64 times at once.
Strangers have machines of their own: here they get what others leave of this one (nice 10).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from _support.driver import connections_limit, drive, tool
from _support.report import Cell, Report, alternating, arguments, parse, ratio
from _support.servers import Server, with_token

STRANGERS = Path(__file__).parent / "_support" / "strangers.py"
# Kind, what it is called, how many, and how many for a moment's look.
TROUBLES = {
    "none": ("no trouble", 0, 0),
    "slow": ("5,000 slow connections", 5000, 200),
    "half_open": ("10,000 half-open handshakes", 10_000, 200),
    "noise": ("random bytes", 2000, 100),
    "flood": ("a client that floods", 64, 64),
}
# Together a minute of each.
SECONDS = 12.0


@contextmanager
def trouble(kind: str, server: Server, token: Path, count: int) -> Iterator[None]:
    """From when it is there until it is over."""
    if kind == "none":
        yield
        return
    words = [sys.executable, str(STRANGERS), kind, str(server.port), str(count)]
    if kind == "flood":
        words = [tool("load_driver"), "ops", "--port", str(server.port), "--protocol", "native"]
        words += ["--token-file", str(token), "--connections", "1", "--in-flight", str(count)]
        words += ["--value", "65536", "--keys", "100", "--seconds", "3600", "--timeout", "4000"]
    process = subprocess.Popen(
        ["nice", "-n", "10", *words],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if kind == "flood":
            time.sleep(1)  # It sets its keys first; nothing says when.
        elif process.stdout.readline() != "ready\n":
            raise SystemExit(f"{kind}: no trouble could be made")
        yield
        if process.poll() is not None:
            raise SystemExit(f"{kind}: the trouble ended by itself")
    finally:
        process.kill()
        process.communicate()


def waited(kind: str, count: int, seconds: float) -> dict[str, float]:
    with with_token() as (server, token), trouble(kind, server, token, count):
        words: dict[str, Any] = {
            "protocol": "native",
            "connections": 1,
            "keys": 100,
            "token_file": token,
        }
        found = drive("ops", server.port, server.pid, seconds=seconds, **words)
    return {"p50_us": found["latency_us"]["p50"], "p99_us": found["latency_us"]["p99"]}


def main() -> None:
    options = parse(arguments(__doc__))
    report = Report(__doc__, options)
    limit = connections_limit() - 100
    seconds = 0.5 if options.short else SECONDS
    measures = {
        kind: partial(waited, kind, min(short if options.short else many, limit), seconds)
        for kind, (_, many, short) in TROUBLES.items()
    }
    found = alternating(options.runs, measures)
    rows: list[list[Cell]] = []
    for kind, (name, _, _) in TROUBLES.items():
        times = ratio(found[kind]["p99_us"], found["none"]["p99_us"])
        rows.append([name, found[kind]["p50_us"], found[kind]["p99_us"], times])
        if kind != "none":
            report.figure(f"strangers/{kind}/p99_ratio", times)
    report.table("Latency of a get, us", ["", "median", "99th percentile", "of that alone"], rows)
    report.finish()


if __name__ == "__main__":
    main()
