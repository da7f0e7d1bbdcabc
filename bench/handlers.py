"""How long do N handlers need to form a round, beside torch elastic's?

    python bench/handlers.py [--short] [--runs N] [--nodes N...] [--timeout SECONDS] [--json FILE]

The handlers are threads of four processes, the store's server is a process of its own; measured is
the time from the start of the first `next_rendezvous` to the end of the last one, bootstrap store
included, with connections open and threads started before. Peers: the rulebook in the server; the
rulebook in each handler, over a compare-and-set of a file that all have open, and of a key on our
server; and torch's handlers on torch's server. A peer that fails or takes longer than --timeout is
not asked again.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack

from _support.report import Cell, Report, arguments, parse, ratio
from _support.rounds import Round, medians, play
from _support.servers import NotListeningError, missing, start, torch_python

# How a table calls them, and the server that each uses.
NAMES = {
    "server": "ours, server",
    "file": "ours, file",
    "store": "ours, key on a server",
    "torch": "torch",
}
SERVERS = {"server": "ours, native", "store": "ours, native", "torch": "torch"}
NODES = [64, 128, 256, 512, 1024]
SHORT = [16]


def measure(peer: str, nodes: int, timeout_s: float) -> Round:
    """One round, on a store that nobody has used."""
    with ExitStack() as stack:
        if peer == "file":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            return play(peer, f"{folder}/store", nodes, timeout_s)
        try:
            server = start(stack, (SERVERS[peer],))[SERVERS[peer]]
        except NotListeningError as error:
            return Round(None, str(error))
        python = torch_python() if peer == "torch" else None
        return play(peer, f"127.0.0.1:{server.port}", nodes, timeout_s, python)


def main() -> None:
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=None, help="how many handlers")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default: 60)")
    parser.add_argument("--peers", nargs="+", choices=list(NAMES), default=list(NAMES))
    options = parse(parser)
    report = Report(__doc__, options)
    left_out = missing(options.peers)
    peers = [peer for peer in options.peers if peer not in left_out]
    sizes = options.nodes or (SHORT if options.short else NODES)
    found = medians(
        peers, sizes, options.runs, lambda peer, nodes: measure(peer, nodes, options.timeout)
    )
    rows: list[list[Cell]] = [
        [f"{nodes:,} handlers", *(found.seconds[nodes].get(peer) for peer in peers)]
        for nodes in sizes
    ]
    report.table(
        "Seconds until the last handler has its rank (-: why is said below)",
        ["", *(NAMES[peer] for peer in peers)],
        rows,
    )
    found.tell_missing(report, NAMES)
    for nodes in sizes:
        for peer, seconds in found.seconds[nodes].items():
            report.figure(f"handlers/{nodes}/{NAMES[peer]}/seconds", seconds)
        report.figure(
            f"handlers/{nodes}/to_torch",
            ratio(found.seconds[nodes].get("server"), found.seconds[nodes].get("torch")),
        )
    series = {
        NAMES[peer]: [(n, found.seconds[n][peer]) for n in sizes if peer in found.seconds[n]]
        for peer in peers
    }
    report.plot("handlers", "A round of N handlers", "seconds", series)
    report.left_out(left_out)
    report.finish()


if __name__ == "__main__":
    main()
