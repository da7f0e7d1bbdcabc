"""etcd's messages, built from bytes and ints, and read back. Pure."""

from dataclasses import dataclass

from rendezvous.backends.etcd.transport import Message

__all__ = [
    "TXN_OPERATIONS_MAX",
    "Event",
    "KeyValue",
    "RangeResult",
    "ReadResult",
    "TxnResult",
    "compare_mod",
    "compare_there",
    "compare_value",
    "event_of",
    "op_delete",
    "op_put",
    "op_range",
    "prefix_end",
    "range_result",
    "revision_of",
]

# etcd's default of --max-txn-ops; each branch of a txn may hold so many operations.
TXN_OPERATIONS_MAX = 128


@dataclass(frozen=True)
class KeyValue:
    """A key as it was at some revision. mod_revision: of its last write; lease: 0 for none."""

    key: bytes
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True)
class RangeResult:
    """What a range found. count: of all that match, whatever was returned."""

    kvs: list[KeyValue]
    count: int
    revision: int

    @property
    def first(self) -> KeyValue | None:
        """The only one, where one key was asked for."""
        return self.kvs[0] if self.kvs else None


@dataclass(frozen=True)
class ReadResult:
    """What several ranges found at one revision, in their order."""

    revision: int
    ranges: list[RangeResult]


@dataclass(frozen=True)
class TxnResult:
    """How a txn ended. responses: of the branch that was taken, an item an operation."""

    succeeded: bool
    revision: int
    responses: list[Message]

    def range(self, position: int) -> RangeResult:
        """The answer of an `op_range` at that place of its branch."""
        return range_result(self.responses[position].get("response_range", {}), self.revision)

    def deleted(self, position: int) -> int:
        """How many keys an `op_delete` at that place deleted."""
        answer = self.responses[position].get("response_delete_range", {})
        count: int = answer.get("deleted", 0)
        return count


@dataclass(frozen=True)
class Event:
    """A write that a watch saw; a deletion has no value."""

    is_delete: bool
    kv: KeyValue


def prefix_end(prefix: bytes) -> bytes:
    """The range_end with which a range holds all keys that begin with `prefix`."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        return b"\0"  # to the end of all keys
    return trimmed[:-1] + bytes([trimmed[-1] + 1])


def op_range(
    key: bytes,
    end: bytes = b"",
    *,
    limit: int = 0,
    revision: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
    oldest_first: bool = False,
) -> Message:
    """One key, or all from it up to `end`. revision: as it was then; 0: now."""
    message: Message = {"key": key}
    if end:
        message["range_end"] = end
    if limit:
        message["limit"] = limit
    if revision:
        message["revision"] = revision
    if keys_only:
        message["keys_only"] = True
    if count_only:
        message["count_only"] = True
    if oldest_first:
        message |= {"sort_target": "CREATE", "sort_order": "ASCEND"}
    return {"request_range": message}


def op_put(key: bytes, value: bytes, *, lease: int = 0, keep_lease: bool = False) -> Message:
    """keep_lease: the key, which must be there, keeps the lease it has."""
    message: Message = {"key": key, "value": value}
    if lease:
        message["lease"] = lease
    if keep_lease:
        message["ignore_lease"] = True
    return {"request_put": message}


def op_delete(key: bytes, end: bytes = b"") -> Message:
    message: Message = {"key": key}
    if end:
        message["range_end"] = end
    return {"request_delete_range": message}


def compare_mod(key: bytes, revision: int) -> Message:
    """True if that was the key's last write; 0: if there is no such key."""
    return {
        "key": key,
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": revision,
    }


def compare_there(key: bytes) -> Message:
    """True if there is such a key."""
    return {"key": key, "target": "CREATE", "result": "GREATER", "create_revision": 0}


def compare_value(key: bytes, value: bytes) -> Message:
    """True if the key is there and has that value."""
    return {"key": key, "target": "VALUE", "result": "EQUAL", "value": value}


def range_result(message: Message, revision: int = 0) -> RangeResult:
    """`revision`: for an answer without a header's own."""
    return RangeResult(
        [_key_value(kv) for kv in message.get("kvs", ())],
        message.get("count", 0),
        revision_of(message) or revision,
    )


def event_of(message: Message) -> Event:
    return Event(message.get("type") == "DELETE", _key_value(message.get("kv", {})))


def revision_of(message: Message) -> int:
    """The store's revision when it answered."""
    revision: int = message.get("header", {}).get("revision", 0)
    return revision


def _key_value(message: Message) -> KeyValue:
    return KeyValue(
        message.get("key", b""),
        message.get("value", b""),
        message.get("mod_revision", 0),
        message.get("lease", 0),
    )
