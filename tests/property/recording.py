"""Makes random calls on a store and writes down when each began and ended, for linearizability.py.

Runs as a program too: recording.py KIND ADDRESS THREADS opens a store and plays one history for
each line "SEED START KEY..." on its stdin, printing its calls as one line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from property.linearizability import NEVER, NOT_A_NUMBER, Call, Result

from rendezvous import (
    FileStore,
    StoreError,
    StoreKeysMissingError,
    StoreNoAnswerError,
    StoreValueError,
    TCPStore,
)

CALLS_A_CLIENT = 30
UNANSWERED_MAX = 100
OPERATIONS = ["get"] * 6 + ["set"] * 3 + ["compare_exchange"] * 6 + ["add"] * 3 + ["delete_key"]


class Recordable(Protocol):
    """What of a store is recorded; a test may put something broken in between."""

    def get(self, key: bytes, timeout: float) -> bytes: ...
    def set(self, key: bytes, value: bytes) -> None: ...
    def compare_exchange(
        self, key: bytes, expected: bytes, desired: bytes
    ) -> tuple[bytes, bool]: ...
    def add(self, key: bytes, amount: int) -> int: ...
    def delete_key(self, key: bytes) -> bool: ...


def perform(store: Recordable, operation: str, key: bytes, arguments: tuple[bytes, ...]) -> Result:
    """The result of a call, in the words of linearizability.py."""
    if operation == "get":
        return get(store, key)
    if operation == "add":
        return add(store, key, int(arguments[0]))
    if operation == "compare_exchange":
        expected, desired = arguments
        return store.compare_exchange(key, expected, desired)
    if operation == "delete_key":
        return store.delete_key(key)
    store.set(key, arguments[0])
    return None


def get(store: Recordable, key: bytes) -> bytes | None:
    """The value now, None for none.

    On a busy machine an answer may come too late for a timeout of 0, and the key may be there.
    Such a call has changed nothing, so it is made again: what is recorded lasts until the answer.
    """
    for _ in range(UNANSWERED_MAX):
        try:
            return store.get(key, 0)
        except StoreKeysMissingError:
            return None
        except StoreNoAnswerError as error:
            unanswered = error
    raise unanswered


def add(store: Recordable, key: bytes, amount: int) -> int | str:
    try:
        return store.add(key, amount)
    except StoreValueError:
        return NOT_A_NUMBER


def record(store: Recordable, client: str, operation: str, key: bytes, *arguments: bytes) -> Call:
    """Make one call. One that fails otherwise than it may has an unknown outcome."""
    invoked = time.monotonic_ns()
    try:
        result = perform(store, operation, key, arguments)
        returned = time.monotonic_ns()
    except StoreError as error:
        result, returned = repr(error), NEVER
    return Call(client, operation, key, arguments, result, invoked, returned)


def play(store: Recordable, client: str, keys: list[bytes], seed: str) -> list[Call]:
    """One client's part of a history: random calls, in which every value written is another.

    A compare_exchange mostly expects what the client saw last.
    """
    chance = random.Random(f"{seed} {client}")
    last_seen = dict.fromkeys(keys, b"")
    calls = []
    for _ in range(CALLS_A_CLIENT):
        key = chance.choice(keys)
        operation = chance.choice(OPERATIONS)
        written = b"%d" % chance.randrange(10**6, 10**12)
        if chance.random() < 0.1:
            written += b" of " + client.encode()  # no number
        arguments: tuple[bytes, ...] = ()
        if operation == "set":
            arguments = (written,)
        elif operation == "add":
            arguments = (b"%d" % chance.randrange(1, 10**5),)
        elif operation == "compare_exchange":
            arguments = (last_seen[key] if chance.random() < 0.9 else b"", written)
        call = record(store, client, operation, key, *arguments)
        calls.append(call)
        last_seen[key] = value_after(call, last_seen[key])
    return calls


def value_after(call: Call, before: bytes) -> bytes:
    """What the client knows to have been the value; b"" for none."""
    if call.operation == "get":
        return call.result if isinstance(call.result, bytes) else b""
    if call.operation == "compare_exchange" and isinstance(call.result, tuple):
        return call.result[0]
    if call.operation == "add":
        return b"%d" % call.result if isinstance(call.result, int) else before
    return call.arguments[0] if call.operation == "set" else b""


def play_together(
    stores: list[Recordable], names: list[str], keys: list[bytes], seed: str, start: int = 0
) -> list[Call]:
    """Each store's client on a thread of its own, all from `start` on (monotonic, ns)."""
    parts: list[list[Call]] = [[] for _ in stores]
    errors: list[BaseException] = []

    def run(number: int) -> None:
        time.sleep(max(0, start - time.monotonic_ns()) / 1e9)
        try:
            parts[number] = play(stores[number], names[number], keys, seed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    return [call for part in parts for call in part]


def to_json(calls: list[Call]) -> str:
    def plain(value: object) -> object:
        if isinstance(value, bytes):
            return {"bytes": value.decode("latin-1")}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return json.dumps([[plain(field) for field in vars(call).values()] for call in calls])


def from_json(line: str) -> list[Call]:
    def rich(value: Any) -> Any:
        if isinstance(value, dict):
            return value["bytes"].encode("latin-1")
        return tuple(rich(item) for item in value) if isinstance(value, list) else value

    return [Call(*map(rich, fields)) for fields in json.loads(line)]


def open_store(kind: str, address: str) -> FileStore | TCPStore:
    if kind == "file":
        return FileStore(address, job_id="history")
    return TCPStore("127.0.0.1", int(address), timeout=60.0)


def main(kind: str, address: str, thread_count: int) -> None:
    """thread_count: at least 2."""
    # Threads of one process shall alternate within a history, which lasts some milliseconds.
    sys.setswitchinterval(1e-4)
    # Two threads share an object; further ones have their own.
    first = open_store(kind, address)
    own = [open_store(kind, address) for _ in range(thread_count - 2)]
    stores: list[Recordable] = [first, first]
    stores += own
    print("ready", flush=True)
    for line in sys.stdin:
        seed, start, process, *keys = line.split()
        names = [f"{process}.{number}" for number in range(thread_count)]
        history = play_together(stores, names, [key.encode() for key in keys], seed, int(start))
        print(to_json(history), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
