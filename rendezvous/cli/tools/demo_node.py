"""One node of `rendezvous demo`: a process of its own that meets the others through the public API.

Started by demo.py. Writes one line of JSON to stdout, measurements or an error, and ends. Imports
little: on a small machine the starts of the processes are most of what the demo takes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.errors import RendezvousError
from rendezvous.handler.registry import get_rendezvous_handler


def main() -> int:
    """Take part in the demo; the arguments are backend, endpoint, nodes, and time of the start.

    The time is the monotonic clock's, which all processes of a machine share.
    """
    entered = time.monotonic()
    backend, endpoint, nodes_text, started_text = sys.argv[-4:]
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        result = _meet(backend, endpoint, int(nodes_text))
    except RendezvousError as error:
        return _fail(str(error))
    except Exception:  # noqa: BLE001  (a bug: told once by the parent, not once by each process)
        import traceback

        return _fail(traceback.format_exc())
    result["start_ms"] = (entered - float(started_text)) * 1000
    print(json.dumps(result), flush=True)
    return 0


def _meet(backend: str, endpoint: str, nodes: int) -> dict[str, object]:
    times = [time.monotonic()]
    config = {"is_host": False} if backend == "c10d" else {}
    handler = get_rendezvous_handler(
        RendezvousParameters(
            backend, endpoint, "demo", nodes, nodes, "127.0.0.1", join_timeout=60, **config
        )
    )
    try:
        times.append(time.monotonic())
        info = handler.next_rendezvous()
        times.append(time.monotonic())
        # A barrier, as a program would make one: the last to arrive opens it for all.
        if info.store.add("arrived", 1) == info.world_size:
            info.store.set("all arrived", "")
        info.store.get("all arrived")
        times.append(time.monotonic())
    finally:
        handler.shutdown()
    phases = ("connect_ms", "rendezvous_ms", "barrier_ms")
    result: dict[str, object] = {
        phase: (end - begin) * 1000
        for phase, begin, end in zip(phases, times, times[1:], strict=False)
    }
    master = info.bootstrap_store_info
    result |= {
        "pid": os.getpid(),
        "address": "127.0.0.1",
        "rank": info.rank,
        "world_size": info.world_size,
        "master": f"{master.master_addr}:{master.master_port}",
    }
    return result


def _fail(message: str) -> int:
    print(json.dumps({"error": message}), flush=True)
    return 1


def _die_with_parent() -> None:
    # stdin is a pipe that the parent alone can write to, and never does: it ends with the parent.
    os.read(0, 1)
    os._exit(1)
