"""PrefixStore: a separate name space in another store.

Over a compiled store it is compiled, too. Over a store that is a Python object it is this class, so
that compiled code never calls into Python: a daemon thread in such a call could not be ended with
the interpreter. Any thread may call any method at any time.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, cast

from rendezvous import _core
from rendezvous._base.arguments import (
    FOREVER_S,
    Text,
    Timeout,
    Value,
    bytes_of,
    bytes_of_value,
    list_of,
    pairs_of,
    quoted,
    seconds,
    version_number,
    whole_number,
)
from rendezvous._base.errors import StoreClosedError, StoreKeysMissingError, StoreValueError
from rendezvous._stores.meeting_rules import barrier_call
from rendezvous._stores.store import Store, hint_for_torch, store_object
from rendezvous._stores.values import timedelta_of

__all__ = ["PrefixStore", "owning_view"]


class _StoreLike(Protocol):
    """The methods that a store must have; ours, torch's and users' stores have more."""

    def set(self, key: str, value: Any, /) -> object: ...
    def get(self, key: str, /) -> bytes: ...


class PrefixStore(Store):
    """A view of another store in which every key begins with `prefix` and a '/'.

    Args:
        prefix: the prefix of the name space.
        store: one of ours, one of torch's, or any Python object with a store's methods. Such an
            object gets keys as str (bytes if they are not UTF-8), values as bytes, and timeouts as
            timedelta. Methods that it lacks are built from those it has, as for a class derived
            from Store, or raise StoreUnsupportedError. Its exceptions pass through unchanged.

    The timeout is the underlying store's. num_keys counts all of that store's keys. close ends the
    view and leaves the store open, except for a view made by clone or open_store: there it closes
    the store, too.
    """

    def __new__(cls, prefix: Text, store: _StoreLike) -> "PrefixStore":
        if store is None:
            raise ValueError("PrefixStore: the store is None; pass the underlying store")
        if isinstance(store, _core.Store):
            return cast("PrefixStore", _core.PrefixStore(prefix, store))
        return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        raise TypeError("type 'rendezvous.PrefixStore' is not an acceptable base type")

    def __init__(self, prefix: Text, store: _StoreLike) -> None:
        super().__init__()
        self._prefix = bytes_of(prefix, "a prefix") + b"/"
        self._below = store_object(store)
        self._owns_store = False
        self._is_closed = False

    @property
    def underlying_store(self) -> Any:
        """The store below: the same object that was given."""
        return self._below.target

    @property
    def _underlying_non_prefix_store(self) -> Any:
        """The first store below that is not a PrefixStore of ours or torch's."""
        below = self._below.target
        return getattr(below, "_underlying_non_prefix_store", below)

    def set(self, key: Text, value: Value, ttl: Timeout | None = None) -> None:
        full, data = self._full(key), bytes_of_value(value)
        ttl_s = FOREVER_S if ttl is None else seconds(ttl, "a time to live")
        if ttl_s == 0:
            raise StoreValueError(
                f"set of key {quoted(full)}: ttl is 0 s; it must be more than 0; a key without a "
                "ttl never expires"
            )
        if ttl_s < FOREVER_S:
            self._below.set_for(full, data, ttl_s)
        else:
            self._below.set(full, data)

    def get(self, key: Text, timeout: Timeout | None = None) -> bytes:
        with self._naming_keys():
            return self._below.get(self._full(key), self._seconds(timeout))

    def try_get(self, key: Text) -> bytes | None:
        return self._below.try_get(self._full(key))

    def watch(
        self, key: Text, known_version: int, timeout: Timeout | None = None
    ) -> tuple[bytes | None, int]:
        known = version_number(known_version)
        with self._naming_keys():
            return self._below.watch(self._full(key), known, self._seconds(timeout))

    def set_if_version(self, key: Text, value: Value, version: int) -> tuple[int, bool]:
        wanted = version_number(version)
        return self._below.set_if_version(self._full(key), bytes_of_value(value), wanted)

    def compare_set(self, key: Text, expected: Value, desired: Value) -> bytes:
        before, after = bytes_of_value(expected), bytes_of_value(desired)
        return self._below.compare_set(self._full(key), before, after)

    def compare_exchange(self, key: Text, expected: Value, desired: Value) -> tuple[bytes, bool]:
        before, after = bytes_of_value(expected), bytes_of_value(desired)
        return self._below.compare_exchange(self._full(key), before, after)

    def add(self, key: Text, amount: int) -> int:
        return self._below.add(self._full(key), whole_number(amount, "the amount of add"))

    def check(self, keys: Iterable[Text]) -> bool:
        return self._below.check(self._all_full(keys))

    def wait(self, keys: Iterable[Text], timeout: Timeout | None = None) -> None:
        with self._naming_keys():
            self._below.wait(self._all_full(keys), self._seconds(timeout))

    def delete_key(self, key: Text) -> bool:
        return self._below.delete_key(self._full(key))

    def delete_prefix(self, prefix: Text) -> int:
        return self._below.delete_prefix(self._full(prefix))

    def num_keys(self) -> int:
        self._check_open()
        return self._below.num_keys()

    def list_keys(self, prefix: Text = "") -> list[str]:
        found = self._below.list_keys(self._full(prefix))
        return [key[len(self._prefix) :].decode("utf-8", "surrogateescape") for key in found]

    def append(self, key: Text, value: Value) -> None:
        self._below.append(self._full(key), bytes_of_value(value))

    def multi_get(self, keys: Iterable[Text], timeout: Timeout | None = None) -> list[bytes]:
        with self._naming_keys():
            return self._below.multi_get(self._all_full(keys), self._seconds(timeout))

    def multi_set(self, keys: Iterable[Text], values: Iterable[Value]) -> None:
        pairs = pairs_of(keys, values)
        self._check_open()
        self._below.multi_set((self._prefix + key, value) for key, value in pairs)

    def queue_push(self, key: Text, value: Value) -> None:
        self._below.queue_push(self._full(key), bytes_of_value(value))

    def queue_pop(self, key: Text, block: bool = True, timeout: Timeout | None = None) -> bytes:
        with self._naming_keys():
            return self._below.queue_pop(self._full(key), bool(block), self._seconds(timeout))

    def queue_len(self, key: Text) -> int:
        return self._below.queue_len(self._full(key))

    def barrier(
        self,
        key: Text,
        world_size: int,
        timeout: Timeout | None = None,
        rank: int | None = None,
        round: int | None = None,
    ) -> None:
        call = barrier_call(self._full(key), world_size, rank, round)
        with self._naming_keys():
            self._below.barrier(call, self._seconds(timeout))

    def exchange(
        self,
        key: Text,
        rank: int,
        world_size: int,
        value: Value,
        timeout: Timeout | None = None,
    ) -> list[bytes]:
        own = whole_number(rank, "the rank of exchange")
        ranks = whole_number(world_size, "the world_size of exchange")
        data = bytes_of_value(value)
        full, left_s = self._full(key), self._seconds(timeout)
        with self._naming_keys():
            return self._below.exchange(full, own, ranks, data, left_s)

    def clone(self, timeout: Timeout | None = None) -> "PrefixStore":
        self._check_open()
        return owning_view(self._prefix[:-1], self._below.clone(self._seconds(timeout)))

    def has_extended_api(self) -> bool:
        return self._below.has_extended_api()

    @property
    def timeout(self) -> timedelta:
        own = getattr(self._below.target, "timeout", None)
        if own is None:
            return super().timeout
        return own if isinstance(own, timedelta) else timedelta_of(seconds(own))

    def set_timeout(self, timeout: Timeout) -> None:
        timeout_s = seconds(timeout)
        if hasattr(self._below.target, "set_timeout"):
            self._below.target.set_timeout(timedelta_of(timeout_s))
        else:
            super().set_timeout(timeout_s)

    def close(self) -> None:
        self._is_closed = True
        if self._owns_store and hasattr(self._below.target, "close"):
            self._below.target.close()

    def __repr__(self) -> str:
        hint = hint_for_torch()
        return f"<rendezvous.PrefixStore {quoted(self._prefix[:-1])} over {self._below!r}{hint}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a PrefixStore cannot be pickled or copied: it is a view of a store of this process; "
            "create the store and the view in the other process"
        )

    @contextmanager
    def _naming_keys(self) -> Iterator[None]:
        """Errors show the keys as the user of this view knows them."""
        try:
            yield
        except StoreKeysMissingError as error:
            prefix = self._prefix.decode("utf-8", "surrogateescape")
            error.keys = [key.removeprefix(prefix) for key in error.keys]
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosedError(f"{self!r} is closed; create another view of the store")

    def _full(self, key: Text) -> bytes:
        self._check_open()
        return self._prefix + bytes_of(key)

    def _all_full(self, keys: Iterable[Text]) -> list[bytes]:
        self._check_open()
        return [self._prefix + key for key in list_of(keys)]

    def _seconds(self, timeout: Timeout | None) -> float:
        return seconds(self.timeout if timeout is None else timeout)


def owning_view(prefix: Text, store: _StoreLike) -> PrefixStore:
    """A view that owns its store, and closes it."""
    if isinstance(store, _core.Store):
        return cast("PrefixStore", _core._owning_view(prefix, store))
    view = PrefixStore(prefix, store)
    view._owns_store = True
    return view


PrefixStore.__init__.__doc__ = _core.PrefixStore.__init__.__doc__
for _name, _own in vars(PrefixStore).items():
    if not _name.startswith("_") and not _own.__doc__:
        _own.__doc__ = getattr(Store, _name).__doc__
PrefixStore.register(_core.PrefixStore)
