"""How long do N handlers need to form a round, beside torch elastic's?

    python bench/handlers.py [--short] [--runs N] [--nodes N...] [--timeout SECONDS] [--json FILE]

The handlers are threads of four processes, the store's server is a process of its own; measured is
the time from the start of the first `next_rendezvous` to the end of the last one, bootstrap store
included, with connections open and threads started before. Peers: the rulebook in the server, the
rulebook in each handler over a compare-and-set, and torch's handlers on torch's server. A round
that takes longer than --timeout is not counted, and its peer not asked again.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from _support.report import Cell, Report, arguments, parse, ratio
from _support.servers import missing, start, torch_python

PROCESSES = 4
PLAYER = Path(__file__).parent / "_support" / "handler_player.py"
# How a table calls them, and the server that each uses.
NAMES = {"server": "ours, server", "store": "ours, store", "torch": "torch"}
SERVERS = {"server": "ours, native", "store": "ours, native", "torch": "torch"}
NODES = [64, 256, 1024]
SHORT = [16]


def measure(peer: str, nodes: int, timeout_s: float) -> float | None:
    """Seconds of one round; None if it did not come together in time."""
    python = torch_python() if peer == "torch" else None
    with ExitStack() as stack:
        server = start(stack, (SERVERS[peer],))[SERVERS[peer]]
        shares = [nodes // PROCESSES + (i < nodes % PROCESSES) for i in range(PROCESSES)]
        players = [
            subprocess.Popen(
                [python or sys.executable, str(PLAYER), peer]
                + [str(each) for each in (server.port, share, nodes, timeout_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for share in shares
            if share
        ]
        try:
            return _seconds(players)
        finally:
            for player in players:
                player.kill()
                player.communicate()


def _seconds(players: list[subprocess.Popen[str]]) -> float | None:
    def line(player: subprocess.Popen[str]) -> str:
        assert player.stdout is not None
        return player.stdout.readline()

    def tell(player: subprocess.Popen[str]) -> None:
        assert player.stdin is not None
        player.stdin.write("\n")
        player.stdin.flush()

    if any(line(player) != "ready\n" for player in players):
        return None
    for player in players:
        tell(player)
    times = [[float(each) for each in line(player).split()] for player in players]
    if any(len(each) != 2 or each[1] < 0 for each in times):
        return None
    return max(end for _, end in times) - min(begin for begin, _ in times)


def medians(
    peers: list[str], sizes: list[int], runs: int, timeout_s: float
) -> dict[int, dict[str, float]]:
    """For each size the median seconds of each peer that was in time in every run."""
    found: dict[int, dict[str, float]] = {}
    gone: set[str] = set()
    for nodes in sizes:
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(runs):
            for peer in peers:
                one = None if peer in gone else measure(peer, nodes, timeout_s)
                if one is None:
                    gone.add(peer)
                else:
                    seconds[peer].append(one)
        found[nodes] = {
            peer: statistics.median(each) for peer, each in seconds.items() if peer not in gone
        }
    return found


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
    found = medians(peers, sizes, options.runs, options.timeout)
    rows: list[list[Cell]] = [
        [f"{nodes:,} handlers", *(found[nodes].get(peer) for peer in peers)] for nodes in sizes
    ]
    report.table(
        f"Seconds until the last handler has its rank (-: not within {options.timeout:g} s)",
        ["", *(NAMES[peer] for peer in peers)],
        rows,
    )
    for nodes in sizes:
        for peer, seconds in found[nodes].items():
            report.figure(f"handlers/{nodes}/{NAMES[peer]}/seconds", seconds)
        report.figure(
            f"handlers/{nodes}/to_torch",
            ratio(found[nodes].get("server"), found[nodes].get("torch")),
        )
    series = {
        NAMES[peer]: [(nodes, found[nodes][peer]) for nodes in sizes if peer in found[nodes]]
        for peer in peers
    }
    report.plot("handlers", "A round of N handlers", "seconds", series)
    report.left_out(left_out)
    report.finish()


if __name__ == "__main__":
    main()
