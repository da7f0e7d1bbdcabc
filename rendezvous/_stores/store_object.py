"""A Python object with a store's methods: torch's stores, and those that users write.

Calls the object as torch's stores expect it: keys as str (bytes if they are not UTF-8), values as
bytes, timeouts as timedelta. Methods that it lacks are built from those it has, or raise
StoreUnsupportedError. Its exceptions pass through unchanged. Runs on the caller's thread and holds
no lock.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from rendezvous._base.arguments import (
    key_bytes,
    quoted,
    quoted_list,
    seconds,
    shown_keys,
)
from rendezvous._base.errors import (
    StoreKeysMissingError,
    StoreTimeoutError,
    StoreUnsupportedError,
)
from rendezvous._stores.meeting_rules import BarrierCall
from rendezvous._stores.meetings import Looks, Meeting
from rendezvous._stores.values import (
    key_text,
    listed_key,
    returned_number,
    returned_value,
    returned_values,
    takes,
    timedelta_of,
)

__all__ = ["StoreObject"]

# No store has it, so a compare_set of it with itself reads without changing anything.
_NOBODYS_VALUE = b"nobody's value " + secrets.token_hex(16).encode()


class StoreObject:
    """The operations of the object; keys and values are bytes, times are seconds.

    Args:
        target: the object.
        base: the class whose methods do not count as the object's own: they are built from the
        others.
        takes: the known signatures of its methods; kept between uses.
    """

    __slots__ = ("_base", "_takes", "target")

    def __init__(self, target: Any, base: type, takes: dict[tuple[str, str], bool]) -> None:
        self.target = target
        self._base = base
        self._takes = takes

    def __repr__(self) -> str:
        return f"{type(self.target).__module__}.{type(self.target).__qualname__}"

    def has(self, name: str) -> bool:
        """Whether the object has the method itself."""
        if getattr(self.target, name, None) is None:
            return False
        if not isinstance(self.target, self._base):
            return True
        return getattr(type(self.target), name, None) is not getattr(self._base, name, None)

    def missing(self, name: str, why: str = "the store's class has no such method") -> Exception:
        return StoreUnsupportedError(f"{self!r}.{name}: {why}")

    @property
    def timeout_s(self) -> float:
        """The default timeout of its blocking calls."""
        return seconds(getattr(self.target, "timeout", 300.0))

    def set(self, key: bytes, value: bytes) -> None:
        self._method("set")(key_text(key), value)

    def set_for(self, key: bytes, value: bytes, ttl_s: float) -> None:
        if not self._knows("set", "ttl"):
            raise self.missing("set", "does not support ttl: its keys never expire")
        self._method("set")(key_text(key), value, ttl=timedelta(seconds=ttl_s))

    def get(self, key: bytes, timeout_s: float) -> bytes:
        """A get without a timeout, such as torch's, gets one by `wait` and `compare_set`."""
        get = self._method("get")
        if self._knows("get", "timeout"):
            return returned_value(get(key_text(key), timeout=timedelta_of(timeout_s)))
        if self._is_own(timeout_s):
            return returned_value(get(key_text(key)))
        looks = Looks(timeout_s)
        while (value := self._read_now(key)) is None:
            if looks.are_over:
                raise StoreKeysMissingError(
                    f"get {looks.text}: nobody has set key {quoted(key)} ({self!r})",
                    keys=shown_keys([key]),
                )
            if self.check([key]):
                looks.pause()  # a queue of that name
            else:
                self.wait([key], looks.left_s)
        return value

    def try_get(self, key: bytes) -> bytes | None:
        if not self.has("try_get"):
            return self.made_try_get(key)
        value = self.target.try_get(key_text(key))
        return None if value is None else returned_value(value)

    def made_try_get(self, key: bytes) -> bytes | None:
        return self._read_now(key)

    def _read_now(self, key: bytes) -> bytes | None:
        # compare_set reads without waiting, where get would wait: the key may be gone again, or a
        # queue's.
        if not self.check([key]):
            return None
        if self._knows("get", "timeout"):
            try:
                return returned_value(self._method("get")(key_text(key), timeout=timedelta(0)))
            except TimeoutError:
                return None
        if not self.has("compare_set"):
            return returned_value(self._method("get")(key_text(key)))
        value = returned_value(
            self.target.compare_set(key_text(key), _NOBODYS_VALUE, _NOBODYS_VALUE)
        )
        return None if value == _NOBODYS_VALUE else value

    def compare_set(self, key: bytes, expected: bytes, desired: bytes) -> bytes:
        if self.has("compare_set"):
            return returned_value(self.target.compare_set(key_text(key), expected, desired))
        return self.made_compare_set(key, expected, desired)

    def made_compare_set(self, key: bytes, expected: bytes, desired: bytes) -> bytes:
        if not self.has("compare_exchange"):
            raise self.missing("compare_set")
        value, swapped = self.compare_exchange(key, expected, desired)
        # An empty value that was not exchanged may be none.
        there = swapped or value != b"" or (self.has("check") and self.check([key]))
        return value if there else expected

    def compare_exchange(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, bool]:
        if not self.has("compare_exchange"):
            return self.made_compare_exchange(key, expected, desired)
        value, swapped = self.target.compare_exchange(key_text(key), expected, desired)
        return returned_value(value), bool(swapped)

    def made_compare_exchange(
        self, key: bytes, expected: bytes, desired: bytes
    ) -> tuple[bytes, bool]:
        """`swapped` may be wrong when another client writes the same value at the same time."""
        if not self.has("compare_set"):
            raise self.missing("compare_set")
        before = None if expected == desired else self.try_get(key)
        # What is there afterwards, or for a missing key what was expected.
        value = self.compare_set(key, expected, desired)
        if value != desired:
            return (b"" if value == expected else value), False
        if expected == desired:
            swapped = expected == b"" or self.check([key])
            return (value if swapped else b""), swapped
        return value, before != desired

    def add(self, key: bytes, amount: int) -> int:
        return returned_number("add", self._method("add")(key_text(key), amount))

    def append(self, key: bytes, value: bytes) -> None:
        if self.has("append"):
            self.target.append(key_text(key), value)
        else:
            self.made_append(key, value)

    def made_append(self, key: bytes, value: bytes) -> None:
        if not (self.has("compare_set") or self.has("compare_exchange")):
            raise self.missing("append")
        looks = Looks(self.timeout_s)
        while True:
            before = self.try_get(key)
            if before is not None and not value:
                return
            whole = (before or b"") + value
            # An empty value is as good as none to whoever expects nothing.
            if self.compare_exchange(key, before or b"", whole)[1]:
                return
            if looks.are_over:
                raise StoreTimeoutError(
                    f"append {looks.text}: other clients keep changing key {quoted(key)} ({self!r})"
                )
            looks.pause()

    def check(self, keys: Sequence[bytes]) -> bool:
        return bool(self._method("check")([key_text(key) for key in keys]))

    def wait(self, keys: Sequence[bytes], timeout_s: float) -> None:
        wait = self._method("wait")
        if timeout_s > 0:
            wait([key_text(key) for key in keys], timedelta_of(timeout_s))
        elif not self.check(keys):  # some of torch's stores take 0 for "no limit"
            missing = [key for key in keys if not self.check([key])]
            raise StoreKeysMissingError(
                f"wait timeout after 0 s: {len(missing)} of {len(keys)} keys were never set: "
                f"{quoted_list(missing)} ({self!r})",
                keys=shown_keys(missing),
            )

    def delete_key(self, key: bytes) -> bool:
        return bool(self._method("delete_key")(key_text(key)))

    def delete_prefix(self, prefix: bytes) -> int:
        if self.has("delete_prefix"):
            return returned_number("delete_prefix", self.target.delete_prefix(key_text(prefix)))
        return self.made_delete_prefix(prefix)

    def made_delete_prefix(self, prefix: bytes) -> int:
        return sum(self.delete_key(key) for key in self.list_keys(prefix))

    def num_keys(self) -> int:
        return returned_number("num_keys", self._method("num_keys")())

    def list_keys(self, prefix: bytes) -> list[bytes]:
        key_bytes("list_keys", prefix)
        list_keys = self._method("list_keys")
        found = (
            list_keys(prefix=key_text(prefix))
            if self._knows("list_keys", "prefix")
            else list_keys()
        )
        keys = sorted(key for key in map(listed_key, found) if key.startswith(prefix))
        if isinstance(self.target, self._base) or not hasattr(
            self.target, "_underlying_non_prefix_store"
        ):
            return keys
        # torch's PrefixStore "a" lists a key of "ab" too, cut at the wrong place.
        return [key for key in keys if self.check([key])]

    def multi_get(self, keys: Sequence[bytes], timeout_s: float) -> list[bytes]:
        if not self.has("multi_get"):
            return self.made_multi_get(keys, timeout_s)
        texts = [key_text(key) for key in keys]
        if self._knows("multi_get", "timeout"):
            return returned_values(self.target.multi_get(texts, timeout=timedelta_of(timeout_s)))
        if not self._is_own(timeout_s):
            self.wait(keys, timeout_s)
        return returned_values(self.target.multi_get(texts))

    def made_multi_get(self, keys: Sequence[bytes], timeout_s: float) -> list[bytes]:
        if not self.has("wait"):
            raise self.missing("multi_get")
        looks = Looks(timeout_s)
        self.wait(keys, timeout_s)
        return [self.get(key, looks.left_s) for key in keys]

    def multi_set(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        if self.has("multi_set"):
            keys, values = [], []
            for key, value in pairs:
                keys.append(key_text(key))
                values.append(value)
            self.target.multi_set(keys, values)
        else:
            self.made_multi_set(pairs)

    def made_multi_set(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        if not self.has("set"):
            raise self.missing("multi_set")
        for key, value in pairs:
            self.set(key, value)

    def queue_push(self, key: bytes, value: bytes) -> None:
        self._method("queue_push")(key_text(key), value)

    def queue_pop(self, key: bytes, block: bool, timeout_s: float) -> bytes:
        """A queue_pop without a timeout is polled."""
        pop = self._method("queue_pop")
        if self._knows("queue_pop", "timeout"):
            return returned_value(pop(key_text(key), block=block, timeout=timedelta_of(timeout_s)))
        if not block or self._is_own(timeout_s):
            return returned_value(pop(key_text(key), block=block))
        looks = Looks(timeout_s)
        while True:
            try:
                return returned_value(pop(key_text(key), block=False))
            except RuntimeError as error:
                # torch's and ours, which torch's store knows nothing of.
                if type(error).__name__ != "QueueEmptyError":
                    raise
            if looks.are_over:
                raise StoreKeysMissingError(
                    f"queue_pop {looks.text}: nobody has pushed to queue {quoted(key)} ({self!r})",
                    keys=shown_keys([key]),
                )
            looks.pause()

    def queue_len(self, key: bytes) -> int:
        return returned_number("queue_len", self._method("queue_len")(key_text(key)))

    def barrier(self, call: BarrierCall, timeout_s: float) -> None:
        """With a rank, built from other operations if the object's barrier accepts no rank."""
        if not self.has("barrier") or not (call.rank is None or self._knows("barrier", "rank")):
            self.made_barrier(call, timeout_s)
            return
        ranks = {} if call.rank is None else {"rank": call.rank, "round": call.round}
        self.target.barrier(key_text(call.key), call.world_size, timedelta_of(timeout_s), **ranks)

    def made_barrier(self, call: BarrierCall, timeout_s: float) -> None:
        if not self.has("add"):
            raise self.missing("barrier")
        Meeting(self, Looks(timeout_s)).barrier(call)

    def exchange(
        self, key: bytes, rank: int, world_size: int, value: bytes, timeout_s: float
    ) -> list[bytes]:
        if not self.has("exchange"):
            return self.made_exchange(key, rank, world_size, value, timeout_s)
        timeout = timedelta_of(timeout_s)
        return returned_values(
            self.target.exchange(key_text(key), rank, world_size, value, timeout)
        )

    def made_exchange(
        self, key: bytes, rank: int, world_size: int, value: bytes, timeout_s: float
    ) -> list[bytes]:
        return Meeting(self, Looks(timeout_s)).exchange(key, rank, world_size, value)

    def watch(self, key: bytes, known_version: int, timeout_s: float) -> tuple[bytes | None, int]:
        watch = self._method("watch")
        value, version = watch(key_text(key), known_version, timedelta_of(timeout_s))
        return (
            (None, 0)
            if value is None
            else (returned_value(value), returned_number("watch", version))
        )

    def set_if_version(self, key: bytes, value: bytes, version: int) -> tuple[int, bool]:
        now, swapped = self._method("set_if_version")(key_text(key), value, version)
        return returned_number("set_if_version", now), bool(swapped)

    def clone(self, timeout_s: float) -> Any:
        """`timeout_s` is for opening it, if the object's clone accepts one."""
        clone = self._method("clone")
        if self._knows("clone", "timeout"):
            return clone(timeout=timedelta_of(timeout_s))
        return clone()

    def has_extended_api(self) -> bool:
        """The object's answer; else whether append, multi_get and multi_set exist or can be
        built."""
        if self.has("has_extended_api"):
            return bool(self.target.has_extended_api())
        compares = self.has("compare_set") or self.has("compare_exchange")
        return (
            (self.has("append") or (compares and self.has("check") and self.has("get")))
            and (self.has("multi_get") or (self.has("wait") and self.has("get")))
            and (self.has("multi_set") or self.has("set"))
        )

    def _method(self, name: str) -> Callable[..., Any]:
        if not self.has(name):
            raise self.missing(name)
        method: Callable[..., Any] = getattr(self.target, name)
        return method

    def _knows(self, name: str, parameter: str) -> bool:
        """Whether the method has a parameter of that name."""
        known = self._takes.get((name, parameter))
        if known is None:
            known = self._takes[name, parameter] = takes(self._method(name), parameter)
        return known

    def _is_own(self, timeout_s: float) -> bool:
        # A timeout of 0 never is: some of torch's stores take it for "no limit".
        return timeout_s > 0 and timeout_s == self.timeout_s
