"""A program that ends while daemon threads are in a store's calls: KIND [PORT or PATH].

Each thread repeats one call, which waits a moment or fails at once; when all have been in theirs, a
few times, the main thread returns. Whatever a thread does then must not change the exit code.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import rendezvous
from rendezvous import HashStore, PrefixStore, Server, Store, StoreError


class SixOps(Store):
    """All else is made of these; each is left and entered again many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HashStore()

    def set(self, key: Any, value: Any, ttl: Any = None) -> None:
        time.sleep(0.0005)
        self.inner.set(key, value)

    def get(self, key: Any, timeout: Any = None) -> bytes:
        time.sleep(0.0005)
        return self.inner.get(key, timeout)

    def add(self, key: Any, amount: int) -> int:
        time.sleep(0.0005)
        return self.inner.add(key, amount)

    def compare_set(self, key: Any, expected: Any, desired: Any) -> bytes:
        time.sleep(0.0005)
        return self.inner.compare_set(key, expected, desired)

    def check(self, keys: Any) -> bool:
        time.sleep(0.0005)
        return self.inner.check(keys)

    def wait(self, keys: Any, timeout: Any = None) -> None:
        self.inner.wait(keys, timeout)


class Number:
    """Runs Python while a compiled call reads its arguments."""

    def __index__(self) -> int:
        time.sleep(0.0005)
        return 1


def keys() -> Iterator[str]:
    """As Number."""
    for key in ("a", "b"):
        time.sleep(0.0005)
        yield key


def make(kind: str, where: str) -> Store:
    """The store that the threads share."""
    if kind == "python":
        return SixOps()
    if kind == "hash":
        return HashStore()
    if kind == "file":
        return rendezvous.FileStore(where)
    if kind == "tcp":
        return rendezvous.TCPStore("127.0.0.1", int(where), timeout=60)
    if kind == "c10d":
        return rendezvous.TCPStore("127.0.0.1", int(where), timeout=60, protocol="c10d")
    raise ValueError(kind)


def calls(store: Store) -> list[Callable[[], object]]:
    """What the threads repeat."""
    fresh = itertools.count()
    return [
        lambda: store.set("a", "1"),
        lambda: store.get("a"),
        lambda: store.get("gone", 0.001),
        lambda: store.wait(["gone"], 0.001),
        lambda: store.wait(keys()),
        lambda: store.add("n", Number()),
        lambda: store.check(keys()),
        lambda: store.multi_get(keys()),
        lambda: store.multi_set(keys(), keys()),
        lambda: store.append("long", ""),
        lambda: store.compare_exchange("a", "1", "1"),
        lambda: store.barrier(f"b{next(fresh)}", 2, 0.001),
        lambda: store.exchange(f"x{next(fresh)}", 0, 2, "v", 0.001),
        lambda: store.timeout,
    ]


def main() -> None:
    kind, where = sys.argv[1:3]
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    prefixed = kind.startswith("prefix-")
    store = make(kind.removeprefix("prefix-"), where)
    if prefixed:
        store = PrefixStore("p", store)
    store.multi_set(["a", "b"], ["1", "1"])
    begun: list[threading.Event] = []

    def repeat(call: Callable[[], object], often: threading.Event) -> None:
        for count in itertools.count():
            if count == 3:
                often.set()
            with contextlib.suppress(StoreError):
                call()

    threading.Thread(target=store.wait, args=(["never"], 300), daemon=True).start()
    for call in calls(store):
        begun.append(threading.Event())
        threading.Thread(target=repeat, args=(call, begun[-1]), daemon=True).start()
    for each in begun:
        each.wait()


if __name__ == "__main__":
    with Server():
        pass
    main()
