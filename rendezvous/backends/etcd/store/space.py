"""Where a store keeps what in etcd: names below one prefix, which a role can be limited to. Pure.

PREFIX/keys/KEY                  a value, as it is
PREFIX/queues/ESCAPED-KEY/ITEM   an item of a queue; the oldest has the lowest create revision
PREFIX/sessions/ID               what a writer wrote last (see session.py)
"""

from urllib.parse import quote_from_bytes, unquote_to_bytes

from rendezvous.backends.etcd.client.wire import prefix_end

__all__ = ["KeySpace"]


class KeySpace:
    """The names of one store."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/")
        base = self.prefix.encode("utf-8", "surrogateescape")
        self._keys = base + b"/keys/"
        self._queues = base + b"/queues/"
        self._sessions = base + b"/sessions/"

    def value(self, key: bytes) -> bytes:
        return self._keys + key

    def key_of(self, name: bytes) -> bytes:
        """What `value` was given."""
        return name[len(self._keys) :]

    def values(self, prefix: bytes = b"") -> tuple[bytes, bytes]:
        """The range of all values whose keys begin with `prefix`."""
        start = self._keys + prefix
        return start, prefix_end(start)

    def queue(self, key: bytes) -> tuple[bytes, bytes]:
        """The range of a queue's items."""
        # Without the separator in it, one queue's name never begins another's.
        start = self._queues + quote_from_bytes(key, safe="").encode() + b"/"
        return start, prefix_end(start)

    def queues(self) -> tuple[bytes, bytes]:
        """The range of all queues' items."""
        return self._queues, prefix_end(self._queues)

    def queue_of(self, name: bytes) -> bytes | None:
        """The key of the queue that an item belongs to; None for what is no item."""
        if not name.startswith(self._queues):
            return None
        return unquote_to_bytes(name[len(self._queues) :].rpartition(b"/")[0])

    def session(self, identity: str) -> bytes:
        return self._sessions + identity.encode()
