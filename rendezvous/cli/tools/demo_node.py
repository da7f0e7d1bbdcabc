"""One node of `rendezvous demo`: a process of its own that meets the others through the public API.

Started by demo.py. Writes a line of JSON to stdout for each time that it has met the others, or one
with an error, and ends. Imports little: on a small machine the starts of the processes are most of
what the demo takes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from rendezvous._base.api import RendezvousHandler, RendezvousInfo, RendezvousParameters
from rendezvous._base.errors import RendezvousError
from rendezvous.handler.observed import ObservedHandler
from rendezvous.handler.registry import get_rendezvous_handler

# How often it is looked for; the handler answers from memory.
_LOOK_S = 0.002


def main() -> int:
    """Take part in the demo.

    The arguments are backend, endpoint, nodes, time of the start, and `first`, or `spare` for the
    one that comes when all are there. Times are the monotonic clock's, which all processes of a
    machine share.
    """
    entered = time.monotonic()
    backend, endpoint, nodes_text, started_text, part = sys.argv[-5:]
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        _take_part(backend, endpoint, int(nodes_text), part, entered - float(started_text))
    except RendezvousError as error:
        return _fail(str(error))
    except Exception:  # noqa: BLE001  (a bug: told once by the parent, not once by each process)
        import traceback

        return _fail(traceback.format_exc())
    return 0


def _take_part(backend: str, endpoint: str, nodes: int, part: str, start_s: float) -> None:
    begun = time.monotonic()
    # Over etcd, the place of one that is lost would be kept for it until the last call is over.
    config = {"is_host": False} if backend == "c10d" else {"former_first": False}
    # One that is killed is missed soon, and one that only waits for a processor is not.
    interval_s = 0.5 + nodes / 100
    handler = get_rendezvous_handler(
        RendezvousParameters(
            backend, endpoint, "demo", nodes, nodes, "127.0.0.1", join_timeout=60,
            keep_alive_interval=interval_s, keep_alive_max_attempt=8, **config,
        )
    )  # fmt: skip
    try:
        if part == "first":
            result = _meet(handler, begun)
            _say(result | {"start_ms": start_s * 1000})
            if nodes > 1:
                _meet_again(handler)
        else:
            _say_met(handler.next_rendezvous(), {})
    finally:
        handler.shutdown()


def _meet(handler: RendezvousHandler, begun: float) -> dict[str, object]:
    times = [begun, time.monotonic()]
    info = handler.next_rendezvous()
    times.append(time.monotonic())
    # A barrier, as a program would make one: the last to arrive opens it for all.
    if info.store.add("arrived", 1) == info.world_size:
        info.store.set("all arrived", "")
    info.store.get("all arrived")
    times.append(time.monotonic())
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


def _meet_again(handler: RendezvousHandler) -> None:
    """As soon as one of the others is gone, which somebody will see to."""
    while handler.num_nodes_waiting() == 0:
        time.sleep(_LOOK_S)
    noticed = time.monotonic()
    changes = handler.changes_text() if isinstance(handler, ObservedHandler) else ""
    _say_met(handler.next_rendezvous(), {"noticed_s": noticed, "changes": changes})


def _say_met(info: RendezvousInfo, more: dict[str, object]) -> None:
    result = {
        "pid": os.getpid(),
        "round": info.round,
        "rank": info.rank,
        "world_size": info.world_size,
        "met_s": time.monotonic(),
    }
    _say(result | more)


def _say(result: dict[str, object]) -> None:
    print(json.dumps(result), flush=True)


def _fail(message: str) -> int:
    print(json.dumps({"error": message}), flush=True)
    return 1


def _die_with_parent() -> None:
    # stdin is a pipe that the parent alone can write to, and never does: it ends with the parent.
    os.read(0, 1)
    os._exit(1)
