"""How long do N handlers need to form a round, beside torch elastic's? Information, not a gate.

    python bench/handlers.py [--runs N] [--nodes N ...] [--timeout SECONDS]

The handlers are threads of four processes, the store's server is a process of its own; measured is
the time from the start of the first `next_rendezvous` to the end of the last one, bootstrap store
included, with connections open and threads started before. Peers: the rulebook in the server, the
rulebook in each handler over a compare-and-set, and torch's handlers on torch's server if torch can
be imported. A round that takes longer than --timeout is not counted, and its peer not asked again.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from tcpstore import OURS, TORCHS, ServerProcess

import rendezvous

PROCESSES = 4
RUN_ID = "bench"


def our_handler(port: int, nodes: int, rulebook: str, timeout_s: float) -> Any:
    params = rendezvous.RendezvousParameters(
        "c10d",
        f"127.0.0.1:{port}",
        RUN_ID,
        nodes,
        nodes,
        is_host=False,
        join_timeout=timeout_s,
        rulebook=rulebook,
    )
    return rendezvous.get_rendezvous_handler(params)


def torch_handler(port: int, nodes: int, timeout_s: float) -> Any:
    from torch.distributed import TCPStore
    from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend, dynamic_rendezvous

    store = TCPStore("127.0.0.1", port, wait_for_workers=False, timeout=timedelta(seconds=60))
    return dynamic_rendezvous.DynamicRendezvousHandler.from_backend(
        RUN_ID,
        store,
        c10d_rendezvous_backend.C10dRendezvousBackend(store, RUN_ID),
        nodes,
        nodes,
        local_addr="127.0.0.1",
        timeout=dynamic_rendezvous.RendezvousTimeout(join=timedelta(seconds=timeout_s)),
    )


def play(peer: str, port: int, count: int, nodes: int, timeout_s: float) -> None:
    """One of the processes: says when it is ready, waits for the word, says when it was done."""
    made = [
        torch_handler(port, nodes, timeout_s)
        if peer == "torch"
        else our_handler(port, nodes, peer, timeout_s)
        for _ in range(count)
    ]
    go = threading.Event()
    ends: list[float] = []

    def run(handler: Any) -> None:
        go.wait()
        handler.next_rendezvous()
        ends.append(time.monotonic())

    threads = [threading.Thread(target=run, args=(each,), daemon=True) for each in made]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    go.set()
    for thread in threads:
        thread.join()
    print(begin, max(ends) if len(ends) == count else -1.0, flush=True)
    sys.stdin.readline()
    # Thousands of handlers that leave one after the other are no part of the question.
    os._exit(0)


def measure(peer: str, nodes: int, timeout_s: float) -> float | None:
    """Seconds of one round; None if it did not come together in time."""
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(TORCHS if peer == "torch" else OURS))
        shares = [nodes // PROCESSES + (i < nodes % PROCESSES) for i in range(PROCESSES)]
        players = [
            subprocess.Popen(
                [sys.executable, __file__, "--play", peer]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="alternating runs (default: 3)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default: 60)")
    parser.add_argument("--peers", nargs="+", default=["server", "store", "torch"])
    parser.add_argument("--play", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.play:
        peer, port, count, nodes, timeout_s = options.play
        play(peer, int(port), int(count), int(nodes), float(timeout_s))
        return
    peers = [each for each in options.peers if each != "torch" or find_spec("torch")]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux "
        f"{platform.release()}, Python {platform.python_version()}, rendezvous "
        f"{rendezvous.__version__}"
    )
    print(f"{f'median s of {options.runs} runs':28}" + "".join(f"{peer:>12}" for peer in peers))
    gone: set[str] = set()
    for nodes in options.nodes:
        found: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(options.runs):
            for peer in peers:
                seconds = None if peer in gone else measure(peer, nodes, options.timeout)
                if seconds is None:
                    gone.add(peer)
                else:
                    found[peer].append(seconds)
        cells = ["-" if peer in gone else f"{statistics.median(found[peer]):.2f}" for peer in peers]
        print(f"{nodes:<28}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
