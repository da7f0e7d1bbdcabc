"""Servers of torch's TCPStore, in a process of their own: only that one imports torch."""

from __future__ import annotations

import importlib.util

from support.process import PythonProcess

CODE = """\
import sys
import torch.distributed as dist
for line in sys.stdin:
    store = None
    store = dist.TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv=line == "libuv\\n"
    )
    print(store.port, flush=True)
"""


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


class TorchServers(PythonProcess):
    """One server at a time, each empty and on a port of its own."""

    def __init__(self) -> None:
        super().__init__(CODE)

    def start(self, libuv: bool) -> int:
        """End the last server, start the next; its port."""
        self.say("libuv" if libuv else "old")
        return int(self.line())
