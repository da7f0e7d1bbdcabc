"""The contract of every store, as a class that users derive their own from.

The compiled stores are registered as its subclasses. Methods that a class derived in Python does
not define are built here from those it does, or raise StoreUnsupportedError. All of it is Python: a
call from compiled code into Python could not be ended with the interpreter.
"""

import math
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from rendezvous import _core
from rendezvous._base.arguments import (
    FOREVER_S,
    Text,
    Timeout,
    Value,
    bytes_of,
    bytes_of_value,
    key_bytes,
    list_of,
    pairs_of,
    seconds,
    whole_number,
)
from rendezvous._stores.meeting_rules import barrier_call
from rendezvous._stores.store_object import StoreObject

__all__ = ["Store", "store_object"]

_Self = TypeVar("_Self", bound="Store")
_Result = TypeVar("_Result")
_TIMEOUT_S = 300.0


def _with_arguments_of_its_own(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """For type checkers: an override may have other arguments, as in torch's stores.

    It is called with the arguments that it accepts, see StoreObject.
    """
    return method


class Store(metaclass=ABCMeta):  # noqa: B024  (its subclasses are registered)
    """The contract of every key-value store; a class derived in Python is a store too.

    Keys are str (stored as UTF-8) or bytes; values are str, bytes, bytearray or memoryview, and
    come back as bytes. Lists may be any iterable. Timeouts are datetime.timedelta or seconds, None
    for the store's default; blocking calls return or raise within them, plus at most 100 ms. Any
    thread may call any method at any time. Errors are StoreErrors, which are RuntimeErrors;
    timeouts are also TimeoutErrors.

    A derived class defines the methods that it supports, with these names and arguments (or with
    those of torch's stores), and calls super().__init__(). If it has set, get, add, compare_set,
    check and wait, it also gets append, try_get, compare_exchange, multi_get, multi_set, barrier
    and exchange, which are built from them: multi_get and multi_set then take several steps, and
    append and compare_exchange may give a wrong result when others write the same value at the same
    time. compare_set and compare_exchange are each built from the other, and delete_prefix from
    list_keys and delete_key. All other methods raise StoreUnsupportedError.
    """

    __timeout_s = _TIMEOUT_S

    def __init__(self) -> None:
        super().__init__()

    @_with_arguments_of_its_own
    def set(self, key: Text, value: Value, ttl: Timeout | None = None) -> None:
        raise _made(self).missing("set")

    @_with_arguments_of_its_own
    def get(self, key: Text, timeout: Timeout | None = None) -> bytes:
        raise _made(self).missing("get")

    @_with_arguments_of_its_own
    def try_get(self, key: Text) -> bytes | None:
        return _made(self).made_try_get(bytes_of(key))

    @_with_arguments_of_its_own
    def watch(
        self, key: Text, known_version: int, timeout: Timeout | None = None
    ) -> tuple[bytes | None, int]:
        raise _made(self).missing("watch")

    @_with_arguments_of_its_own
    def set_if_version(self, key: Text, value: Value, version: int) -> tuple[int, bool]:
        raise _made(self).missing("set_if_version")

    @_with_arguments_of_its_own
    def compare_set(self, key: Text, expected: Value, desired: Value) -> bytes:
        return _made(self).made_compare_set(
            bytes_of(key), bytes_of_value(expected), bytes_of_value(desired)
        )

    @_with_arguments_of_its_own
    def compare_exchange(self, key: Text, expected: Value, desired: Value) -> tuple[bytes, bool]:
        return _made(self).made_compare_exchange(
            bytes_of(key), bytes_of_value(expected), bytes_of_value(desired)
        )

    @_with_arguments_of_its_own
    def add(self, key: Text, amount: int) -> int:
        raise _made(self).missing("add")

    @_with_arguments_of_its_own
    def check(self, keys: Iterable[Text]) -> bool:
        raise _made(self).missing("check")

    @_with_arguments_of_its_own
    def wait(self, keys: Iterable[Text], timeout: Timeout | None = None) -> None:
        raise _made(self).missing("wait")

    @_with_arguments_of_its_own
    def delete_key(self, key: Text) -> bool:
        raise _made(self).missing("delete_key")

    @_with_arguments_of_its_own
    def delete_prefix(self, prefix: Text) -> int:
        return _made(self).made_delete_prefix(bytes_of(prefix))

    @_with_arguments_of_its_own
    def num_keys(self) -> int:
        raise _made(self).missing("num_keys")

    @_with_arguments_of_its_own
    def list_keys(self, prefix: Text = "") -> list[str]:
        raise _made(self).missing("list_keys")

    @_with_arguments_of_its_own
    def append(self, key: Text, value: Value) -> None:
        _made(self).made_append(bytes_of(key), bytes_of_value(value))

    @_with_arguments_of_its_own
    def multi_get(self, keys: Iterable[Text], timeout: Timeout | None = None) -> list[bytes]:
        return _made(self).made_multi_get(list_of(keys), _seconds(self, timeout))

    @_with_arguments_of_its_own
    def multi_set(self, keys: Iterable[Text], values: Iterable[Value]) -> None:
        _made(self).made_multi_set(pairs_of(keys, values))

    @_with_arguments_of_its_own
    def queue_push(self, key: Text, value: Value) -> None:
        raise _made(self).missing("queue_push")

    @_with_arguments_of_its_own
    def queue_pop(self, key: Text, block: bool = True, timeout: Timeout | None = None) -> bytes:
        raise _made(self).missing("queue_pop")

    @_with_arguments_of_its_own
    def queue_len(self, key: Text) -> int:
        raise _made(self).missing("queue_len")

    @_with_arguments_of_its_own
    def barrier(
        self,
        key: Text,
        world_size: int,
        timeout: Timeout | None = None,
        rank: int | None = None,
        round: int | None = None,
    ) -> None:
        call = barrier_call(key_bytes("barrier", key), world_size, rank, round)
        _made(self).made_barrier(call, _seconds(self, timeout))

    @_with_arguments_of_its_own
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
        return _made(self).made_exchange(
            bytes_of(key), own, ranks, bytes_of_value(value), _seconds(self, timeout)
        )

    @_with_arguments_of_its_own
    def clone(self, timeout: Timeout | None = None) -> "Store":
        raise _made(self).missing("clone")

    def has_extended_api(self) -> bool:
        return _made(self).has_extended_api()

    def set_timeout(self, timeout: Timeout) -> None:
        self.__timeout_s = seconds(timeout)

    @property
    def timeout(self) -> timedelta:
        return timedelta(seconds=min(self.__timeout_s, FOREVER_S))

    def close(self) -> None:  # noqa: B027
        """Does nothing. A class that holds resources releases them here."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{_made(self)!r}{hint_for_torch()}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: it belongs to this process; "
            "create a store in the other process"
        )


def store_object(target: Any) -> StoreObject:
    """For a view of a store that is not compiled. Raises TypeError without get and set."""
    found = StoreObject(target, Store, {})
    for method in ("get", "set"):
        if not found.has(method):
            raise TypeError(f"expected a store, not a {found!r}: it has no method {method!r}")
    return found


def hint_for_torch() -> str:
    """A hint on what to do, at the end of a store's repr when torch asks for it.

    Torch refuses foreign stores with a TypeError of pybind11, whose text is fixed except for the
    repr of the object. Called by `__repr__` itself.
    """
    asking = sys._getframe(1).f_back  # none where compiled code asks
    if asking is None or not str(asking.f_globals.get("__name__")).startswith("torch."):
        return ""
    return "; pass rendezvous.torch.as_torch_store(store) to torch instead"


def _made(store: Store) -> StoreObject:
    """The store as its own class created it."""
    return StoreObject(store, Store, vars(store).setdefault("_Store__takes", {}))


def _seconds(store: Store, timeout: Timeout | None) -> float:
    if timeout is not None:
        return seconds(timeout)
    own_s = store.timeout.total_seconds()
    return own_s if own_s < FOREVER_S else math.inf


# The operations are documented once, where they are compiled.
for _name, _method in vars(_core.Store).items():
    _own = vars(Store).get(_name)
    if _own is not None and not _own.__doc__ and not _name.startswith("__"):
        _own.__doc__ = _method.__doc__
Store.register(_core.Store)
