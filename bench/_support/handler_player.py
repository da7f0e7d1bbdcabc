"""One of the processes of handlers.py: its handlers, each in a thread, which form one round.

    python handler_player.py PEER PORT COUNT NODES TIMEOUT_S

Run by an interpreter that has what the peer needs, and nothing else is imported: torch's need not
have ours. Says `ready`, waits for a line, and says when its first handler began and its last one
was done, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

RUN_ID = "bench"


def our_handler(port: int, nodes: int, rulebook: str, timeout_s: float) -> Any:
    import rendezvous

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


def main() -> None:
    peer, port, count, nodes, timeout_s = sys.argv[1:]
    made = [
        torch_handler(int(port), int(nodes), float(timeout_s))
        if peer == "torch"
        else our_handler(int(port), int(nodes), peer, float(timeout_s))
        for _ in range(int(count))
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
    print(begin, max(ends) if len(ends) == len(made) else -1.0, flush=True)
    sys.stdin.readline()
    # Thousands of handlers that leave one after the other are no part of the question.
    os._exit(0)


if __name__ == "__main__":
    main()
