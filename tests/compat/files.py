"""A store's file with each kind of record, and what has to be found in it."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rendezvous import FileStore

# docs/filestore.md, Locks: one byte far beyond any data.
_LOCK_BYTE = 1 << 62
_FOREVER_S = 10**9


def record() -> bytes:
    """The bytes of a file that a store has written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        with FileStore(str(path), job_id="recorded") as store:
            store.set("key", "value")
            store.append("key", " and more")
            store.set("gone", "value")
            store.delete_key("gone")
            store.add("count", 41)
            store.add("count", 1)
            store.multi_set(["a/1", "a/2"], ["one", "two"])
            store.multi_set(["b/1", "b/2"], ["one", "two"])
            store.delete_prefix("b/")
            store.set("for a time", "v", ttl=_FOREVER_S)
            store.queue_push("queue", "first")
            store.queue_push("queue", "second")
            store.queue_pop("queue", timeout=0)
            return path.read_bytes()


def content(store: FileStore) -> dict[str, object]:
    """All that is in it."""
    found: dict[str, object] = {key: store.get(key) for key in sorted(store.list_keys())}
    count = store.queue_len("queue")
    return found | {"queue": [store.queue_pop("queue", timeout=0) for _ in range(count)]}


CONTENT: dict[str, object] = {
    "a/1": b"one",
    "a/2": b"two",
    "count": b"42",
    "for a time": b"v",
    "key": b"value and more",
    "queue": [b"second"],
}


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Another process of the job has the store open: without one, its file would be as if new."""
    file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # struct flock of 64-bit Linux: type, whence, start, length, pid.
        lock = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, _LOCK_BYTE, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        yield
    finally:
        os.close(file)
