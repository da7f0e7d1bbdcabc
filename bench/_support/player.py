"""One process of a round: its handlers, each in a thread. rounds.py starts several.

    python player.py PEER ENDPOINT RUN_ID COUNT NODES TIMEOUT_S

Run by an interpreter that has what the peer needs, and nothing else is imported: torch's need not
have ours. Says `ready`, waits for a line, and says when its first handler began and its last one
was done, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

# What makes ours of each peer: the backend, and its configuration.
OURS: dict[str, tuple[str, dict[str, object]]] = {
    "server": ("c10d", {"is_host": False, "rulebook": "server"}),
    "store": ("c10d", {"is_host": False, "rulebook": "store"}),
    "file": ("c10d", {"store_type": "file", "rulebook": "store"}),
    "etcd": ("etcd", {"rulebook": "auto"}),
    "etcd gateway": ("etcd", {"rulebook": "auto", "transport": "gateway"}),
    "etcd state": ("etcd", {"rulebook": "store"}),
}


def our_handler(peer: str, endpoint: str, run_id: str, nodes: int, timeout_s: float) -> Any:
    import rendezvous

    backend, config = OURS[peer]
    # So many threads on so few cores may keep a keep-alive waiting; nobody is dead meanwhile.
    config = {**config, "join_timeout": timeout_s, "heartbeat_timeout": timeout_s}
    return rendezvous.get_rendezvous_handler(
        rendezvous.RendezvousParameters(
            backend, endpoint, run_id, nodes, nodes, "127.0.0.1", **config
        )
    )


def torch_handler(endpoint: str, run_id: str, nodes: int, timeout_s: float) -> Any:
    from torch.distributed import TCPStore
    from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend, dynamic_rendezvous

    host, _, port = endpoint.rpartition(":")
    store = TCPStore(host, int(port), wait_for_workers=False, timeout=timedelta(seconds=60))
    return dynamic_rendezvous.DynamicRendezvousHandler.from_backend(
        run_id,
        store,
        c10d_rendezvous_backend.C10dRendezvousBackend(store, run_id),
        nodes,
        nodes,
        local_addr="127.0.0.1",
        timeout=dynamic_rendezvous.RendezvousTimeout(join=timedelta(seconds=timeout_s)),
    )


def hang_up() -> None:
    """Break all connections. Closed in the common way, each would hold a port for a minute, and
    the thousands of many rounds leave none for the next benchmark."""
    for fd in Path("/proc/self/fd").iterdir():
        try:
            with socket.socket(fileno=os.dup(int(fd.name))) as each:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            continue  # no socket, or no longer there


def play(make: Callable[[], Any], count: int) -> str:
    """Run `count` handlers; the line that says when the first began and the last was done."""
    made = [make() for _ in range(count)]
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
    return f"{begin} {max(ends)}" if len(ends) == len(made) else "failed"


def main() -> None:
    peer, endpoint, run_id, count, nodes, timeout_s = sys.argv[1:]
    # The kernel's default for threads that do little, not 8 MiB.
    threading.stack_size(512 * 1024)
    # Each thread that waits for its turn interrupts the one that runs, every 5 ms unless told
    # otherwise. With hundreds that wait, nobody gets anything done; a node alone in its process,
    # which these play, is not interrupted at all.
    sys.setswitchinterval(0.1)

    def make() -> Any:
        if peer == "torch":
            return torch_handler(endpoint, run_id, int(nodes), float(timeout_s))
        return our_handler(peer, endpoint, run_id, int(nodes), float(timeout_s))

    print(play(make, int(count)), flush=True)
    # Nobody leaves before the slowest process is done.
    sys.stdin.readline()
    hang_up()
    # Thousands of handlers that leave one after the other are no part of the question.
    os._exit(0)


if __name__ == "__main__":
    main()
