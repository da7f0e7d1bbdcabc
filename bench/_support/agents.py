"""One round of N torchrun agents: processes that ask torch's registry for a handler, and join.

    python agents.py BACKEND ENDPOINT RUN_ID NODES TIMEOUT_S

They are forked from this one, which has imported all that an agent imports: 64 imports of torch
would take minutes. Prints, as JSON, the seconds from when all were ready to when the last one had
its rank, connecting included, and the processor time of all of them up to then. The first agent
serves the store, so its server's is among it.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import time
import traceback

# What an agent has imported when it has its handler; of the standard library, for names of hosts.
COMMON = ("torch.distributed.run", "encodings.idna")
IMPORTS = {
    "c10d": (*COMMON, "torch.distributed.elastic.rendezvous.c10d_rendezvous_backend"),
    "rendezvous": (
        *COMMON,
        "rendezvous._torchrun.handler",
        "rendezvous._torchrun.agent_store",
        "rendezvous.handler.create",
        "rendezvous._base.log",
        "rendezvous.backends.c10d",
    ),
}
_ANSWER = struct.Struct("dd")


def agent(backend: str, endpoint: str, run_id: str, nodes: int, timeout_s: float) -> None:
    """What torchrun does from its arguments to its workers' start."""
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    parameters = RendezvousParameters(
        backend,
        endpoint,
        run_id,
        nodes,
        nodes,
        local_addr="127.0.0.1",
        # So many processes on so few cores may keep a keep-alive waiting; nobody is dead meanwhile.
        keep_alive_interval=str(int(timeout_s)),
        join_timeout=str(int(timeout_s)),
        timeout=900,
    )
    handler = get_rendezvous_handler(parameters)
    # Kept until the process ends: others may need what it serves.
    globals()["kept"] = (handler, handler.next_rendezvous())


def run_agent(words: list[str], ready: int, go: int, answers: int, stop: int) -> None:
    """In a child: wait for the start, join, tell when, wait for the others, tell what it cost."""
    backend, endpoint, run_id, nodes, timeout_s = words
    os.write(ready, b"r")
    os.read(go, 1)  # ends when the parent closes its end
    begin_s = time.process_time()
    agent(backend, endpoint, run_id, int(nodes), float(timeout_s))
    os.write(answers, _ANSWER.pack(time.monotonic(), 0))
    os.read(stop, 1)
    os.write(answers, _ANSWER.pack(0, time.process_time() - begin_s))


def read_answers(pipe: int, count: int) -> list[tuple[float, float]]:
    """One from each child. Raises SystemExit when one ended without."""
    data = b""
    while len(data) < count * _ANSWER.size:
        more = os.read(pipe, 65536)
        if not more:
            raise SystemExit("an agent failed; its error is above")
        data += more
    return [(float(end), float(cpu)) for end, cpu in _ANSWER.iter_unpack(data)]


def main() -> None:
    words = sys.argv[1:]
    for name in IMPORTS[words[0]]:
        importlib.import_module(name)
    os.environ["LOGLEVEL"] = "ERROR"
    ready, go, answers, stop = (os.pipe() for _ in range(4))
    nodes = int(words[3])
    for _ in range(nodes):
        if os.fork() == 0:
            os.close(go[1])
            os.close(stop[1])
            os.close(answers[0])
            try:
                run_agent(words, ready[1], go[0], answers[1], stop[0])
            except BaseException:  # noqa: BLE001  (whatever it is, the parent must not be run)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    os.close(answers[1])
    left = nodes
    while left:
        left -= len(os.read(ready[0], left))
    begin_s = time.monotonic()
    os.close(go[1])
    ends = read_answers(answers[0], nodes)
    os.close(stop[1])
    costs = read_answers(answers[0], nodes)
    print(
        json.dumps(
            {
                "seconds": max(end for end, _ in ends) - begin_s,
                "cpu": sum(cpu for _, cpu in costs),
            }
        )
    )


if __name__ == "__main__":
    main()
