"""One of the processes of etcd_nodes.py: its nodes, each in a thread, which form one round.

    python etcd_player.py RULEBOOK ENDPOINT RUN_ID COUNT NODES TIMEOUT_S

RULEBOOK: `auto`, a key a node, or `store`, one state that all replace. Says `ready`, waits for a
line, and says when its first node began and its last one was done, by the clock that all processes
of a machine share.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import rendezvous


def main() -> None:
    rulebook, endpoint, run_id, count, nodes, timeout_s = sys.argv[1:]
    # The kernel's default for threads that do little, not 8 MiB.
    threading.stack_size(512 * 1024)
    params = rendezvous.RendezvousParameters(
        "etcd",
        endpoint,
        run_id,
        int(nodes),
        int(nodes),
        "127.0.0.1",
        join_timeout=float(timeout_s),
        heartbeat_timeout=float(timeout_s),
        rulebook=rulebook,
    )
    made = [rendezvous.get_rendezvous_handler(params) for _ in range(int(count))]
    go = threading.Event()
    ends: list[float] = []

    def run(handler: rendezvous.RendezvousHandler) -> None:
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
    print(begin, max(ends) if len(ends) == len(made) else -1.0, flush=True)
    sys.stdin.readline()
    os._exit(0)


if __name__ == "__main__":
    main()
