"""The calls of etcd_nodes.py by torch's client of etcd's v2 API, in the Python that has it.

    python etcd_calls.py HOST PORT

Torch's own EtcdRendezvousBackend where this Python has torch, and else the client below it,
python-etcd, alone. Says which, in a line. Then, for every line `NAME COUNT`, does that call so
often and says the median of its milliseconds.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

VALUE = b"x" * 1024
Calls = Mapping[str, Callable[[], object]]


def median_ms(call: Callable[[], object], count: int) -> float:
    """Of one call, in milliseconds."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def backend_calls(backend: Any) -> Calls:
    """A get, and a replacement that has the newest token; of our backend and torch's alike."""
    answer = backend.set_state(VALUE)
    token = [answer[1]]

    def replace() -> None:
        answer = backend.set_state(VALUE, token[0])
        if not answer[2]:
            raise RuntimeError("somebody else has written")
        token[0] = answer[1]

    return {"get": backend.get_state, "compare-and-set": replace}


def python_etcd_calls(client: Any) -> Calls:
    """The requests that torch's backend makes of it, without what torch adds."""
    text = VALUE.decode()
    token = [client.write("/bench", text, 7200, prevExist=False).modifiedIndex]

    def replace() -> None:
        token[0] = client.write("/bench", text, 7200, prevIndex=token[0]).modifiedIndex

    return {"get": lambda: client.read("/bench"), "compare-and-set": replace}


def main() -> None:
    host, port = sys.argv[1:]
    client = importlib.import_module("etcd").Client(host=host, port=int(port), allow_reconnect=True)
    if importlib.util.find_spec("torch") is None:
        name, calls = "python-etcd, v2", python_etcd_calls(client)
    else:
        module = importlib.import_module(
            "torch.distributed.elastic.rendezvous.etcd_rendezvous_backend"
        )
        name, calls = "torch, v2", backend_calls(module.EtcdRendezvousBackend(client, "bench"))
    print(name, flush=True)
    for line in sys.stdin:
        call, _, count = line.rpartition(" ")
        print(median_ms(calls[call], int(count)), flush=True)


if __name__ == "__main__":
    main()
