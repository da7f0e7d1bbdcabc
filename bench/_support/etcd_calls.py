"""The calls of etcd_nodes.py by another client of etcd's v3 API, in a process of its own.

    python etcd_calls.py CLIENT HOST PORT

CLIENT is one of PEERS, and has a key of that name. Then, for every line `NAME COUNT`, it does that
call so often and says the median of its milliseconds. A compare-and-set replaces a value whose
version is the newest.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
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
    """A get, and a replacement that has the newest token; of our backend."""
    token = [backend.set_state(VALUE)[1]]

    def replace() -> None:
        answer = backend.set_state(VALUE, token[0])
        if not answer[2]:
            raise RuntimeError("somebody else has written")
        token[0] = answer[1]

    return {"get": backend.get_state, "compare-and-set": replace}


def replacing(replace_version: Callable[[int], bool]) -> Callable[[], None]:
    """A key that was written once has the version 1, and each replacement adds one."""
    version = [1]

    def replace() -> None:
        if not replace_version(version[0]):
            raise RuntimeError("somebody else has written")
        version[0] += 1

    return replace


def etcd3gw_calls(module: Any, host: str, port: int, key: bytes) -> Calls:
    """The JSON gateway, by requests."""
    client = module.client(host=host, port=port)
    client.put(key, VALUE)
    encoded, value = (base64.b64encode(each).decode() for each in (key, VALUE))

    def replace_version(version: int) -> bool:
        answer = client.transaction(
            {
                "compare": [
                    {"key": encoded, "result": "EQUAL", "target": "VERSION", "version": version}
                ],
                "success": [{"request_put": {"key": encoded, "value": value}}],
                "failure": [],
            }
        )
        return bool(answer.get("succeeded"))

    return {"get": lambda: client.get(key), "compare-and-set": replacing(replace_version)}


def pyetcd_calls(module: Any, host: str, port: int, key: bytes) -> Calls:
    """grpcio; the package etcd-sdk-python, a fork of etcd3 that is kept."""
    client = module.client(host=host, port=port)
    client.put(key, VALUE)
    made = client.transactions

    def replace_version(version: int) -> bool:
        succeeded, _ = client.transaction(
            [made.version(key) == version], [made.put(key, VALUE)], []
        )
        return bool(succeeded)

    return {"get": lambda: client.get(key), "compare-and-set": replacing(replace_version)}


def aetcd_calls(module: Any, host: str, port: int, key: bytes) -> Calls:
    """grpcio's asyncio."""
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete

    async def connect() -> Any:
        client = module.Client(host=host, port=port)
        await client.put(key, VALUE)
        return client

    client = run(connect())
    made = client.transactions

    def replace_version(version: int) -> bool:
        succeeded, _ = run(
            client.transaction([made.version(key) == version], [made.put(key, VALUE)], [])
        )
        return bool(succeeded)

    return {"get": lambda: run(client.get(key)), "compare-and-set": replacing(replace_version)}


# Clients that are kept, by the names of their packages: the module, and its calls.
PEERS: dict[str, tuple[str, Callable[[Any, str, int, bytes], Calls]]] = {
    "etcd3gw": ("etcd3gw", etcd3gw_calls),
    "etcd-sdk-python": ("pyetcd", pyetcd_calls),
    "aetcd": ("aetcd", aetcd_calls),
}


def main() -> None:
    name, host, port = sys.argv[1:]
    module, make_calls = PEERS[name]
    calls = make_calls(importlib.import_module(module), host, int(port), name.encode())
    print("ready", flush=True)
    for line in sys.stdin:
        call, _, count = line.rpartition(" ")
        print(median_ms(calls[call], int(count)), flush=True)


if __name__ == "__main__":
    main()
