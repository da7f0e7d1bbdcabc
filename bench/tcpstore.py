"""How fast is TCPStore, each client on its own server, beside torch's? Information, not a gate.

    python bench/tcpstore.py [--short] [--runs N] [--operations N] [--json FILE]

Each server is a process of its own; this process is the client, one request in flight. Torch's
`set` is not acknowledged, so it is only listed beside ours: the fair peer of ours is torch's `add`.
The last row is the server's CPU time for a multi_set of 16,000 values of 1 KiB by torch's client.
Without torch, ours is measured alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

from compare import NO_TORCH, Operations, Table, measure, parse_arguments, process_cpu_s

import rendezvous

try:
    from torch.distributed import TCPStore as TorchTCPStore
except ImportError:
    TorchTCPStore = None

VALUE = "x" * 64
OURS = (
    "import rendezvous, sys; s = rendezvous.Server(); print(s.port, flush=True); sys.stdin.read()"
)
TORCHS = (
    "from torch.distributed import TCPStore; import sys; "
    "s = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False); "
    "print(s.port, flush=True); sys.stdin.read()"
)


class ServerProcess:
    """A server in a process of its own, which ends with this one's pipe to it."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def torch_client(port: int) -> Any:
    return TorchTCPStore("127.0.0.1", port, wait_for_workers=False, timeout=timedelta(seconds=60))


def operations(store: Any) -> Operations:
    keys = [f"many/{i}" for i in range(8)]
    store.multi_set(keys, [VALUE] * len(keys))
    store.set("there", VALUE)
    store.set("cas", "a")
    return {
        "get": lambda: store.get("there"),
        "set": lambda: store.set("key", VALUE),
        "add": lambda: store.add("counter", 1),
        "check": lambda: store.check(["there"]),
        "compare_set": lambda: store.compare_set("cas", "a", "a"),
        "multi_get of 8": lambda: store.multi_get(keys),
    }


def multi_set_cpu_ms(servers: dict[str, ServerProcess], peer: str) -> float:
    """Of the server; the client is torch's for both, so the bytes are the same."""
    client = torch_client(servers[peer].port)
    keys = [f"bulk/{i}" for i in range(16_000)]
    values = ["v" * 1024] * len(keys)
    begin = process_cpu_s(servers[peer].pid)
    client.multi_set(keys, values)
    client.add("bulk/done", 1)
    time.sleep(0.05)  # CPU times are counted in ticks of 10 ms
    return (process_cpu_s(servers[peer].pid) - begin) * 1e3


def main() -> None:
    options = parse_arguments(__doc__, 5_000)
    with ExitStack() as stack:
        servers = {"ours": stack.enter_context(ServerProcess(OURS))}
        clients: dict[str, Any] = {"ours": rendezvous.TCPStore("127.0.0.1", servers["ours"].port)}
        if TorchTCPStore is not None:
            servers["torch"] = stack.enter_context(ServerProcess(TORCHS))
            clients["torch"] = torch_client(servers["torch"].port)
        made = {peer: operations(client) for peer, client in clients.items()}
        table = Table(__doc__, list(clients), options)
        for name in made["ours"]:
            table.row(name, partial(measure, made, name, options.operations))
        if TorchTCPStore is not None:
            table.row("multi_set, ms of server CPU", partial(multi_set_cpu_ms, servers))
        table.finish({} if TorchTCPStore is not None else {"torch": NO_TORCH})


if __name__ == "__main__":
    main()
