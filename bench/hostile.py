"""How long is a server busy between a PING and its answer, while another connection asks for much?

    python bench/hostile.py [--short] [--runs N] [--json FILE]

In processor time of the server's process, so that other work on the machine does not count: of a
counter of the kernel's (perf_event_open), where that may be used; else of the process's clock,
which moves by 4 ms. The floods are those of tests/hostile.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from _support.report import Cell, Report, alternating, arguments, parse
from _support.servers import start

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support import floods

SIZE = 200_000
SHORT_SIZE = 5_000


def worst_ms(name: str, size: int) -> dict[str, float]:
    with ExitStack() as stack:
        server = start(stack, ("ours, native",))["ours, native"]
        return {"ms": floods.measure(name, size, server.pid, server.port)[0] * 1e3}


def main() -> None:
    options = parse(arguments(__doc__))
    report = Report(__doc__, options)
    size = SHORT_SIZE if options.short else SIZE
    rows: list[list[Cell]] = []
    for name in floods.names():
        found = alternating(options.runs, {name: partial(worst_ms, name, size)})
        rows.append([name.replace("_", " "), found[name]["ms"]])
        report.figure(f"hostile/{name}/ms", found[name]["ms"])
    report.table("ms of the server's CPU, the worst of all pings", ["", "ms"], rows)
    report.finish()


if __name__ == "__main__":
    main()
