"""Checks and converts the arguments of stores in Python as the compiled stores do: the same types,
the same limits, the same messages. Pure.
"""

import math
import operator
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from rendezvous._base.errors import StoreLimitError, StoreValueError

__all__ = [
    "FOREVER_S",
    "Text",
    "Timeout",
    "Value",
    "bytes_of",
    "bytes_of_value",
    "check_ranks",
    "key_bytes",
    "keys_bytes",
    "list_of",
    "pairs_of",
    "quoted",
    "quoted_list",
    "seconds",
    "seconds_text",
    "shown_keys",
    "type_name",
    "value_bytes",
    "version_number",
    "whole_number",
]

Text: TypeAlias = str | bytes
Value: TypeAlias = str | bytes | bytearray | memoryview
Timeout: TypeAlias = timedelta | float

# A timeout of more is none (csrc/base/clock.h).
FOREVER_S = 30 * 365 * 24 * 3600.0

# As of the compiled stores (csrc/wire/limits.h), so that code that fits one fits all.
_KEY_BYTES_MAX = 16 * 1024
_KEYS_MAX = 131_072
_CALL_BYTES_MAX = 256 * 1024 * 1024
_SHOWN_BYTES_MAX = 120
_SHOWN_ITEMS_MAX = 10
_NAMED_KEYS_MAX = 1024
_INT64_MAX = 2**63 - 1


def key_bytes(operation: str, key: Text) -> bytes:
    """Raises TypeError, StoreLimitError."""
    data = bytes_of(key, "a key or value")
    if len(data) > _KEY_BYTES_MAX:
        raise StoreLimitError(
            f"{operation}: key {quoted(data)} has {len(data)} bytes; the limit is "
            f"{_KEY_BYTES_MAX}, so put the long part into the value"
        )
    return data


def value_bytes(operation: str, key: bytes, value: Value, bytes_max: int) -> bytes:
    """Raises TypeError, StoreLimitError."""
    data = bytes_of_value(value)
    if len(data) > bytes_max:
        raise StoreLimitError(
            f"{operation}: the value for key {quoted(key)} has {len(data)} bytes; the limit is "
            f"{bytes_max}, so split it over several keys"
        )
    return data


def keys_bytes(operation: str, keys: Iterable[Text]) -> list[bytes]:
    """Raises TypeError for anything but a list, StoreLimitError."""
    found = list_of(keys)
    if len(found) > _KEYS_MAX:
        raise StoreLimitError(
            f"{operation}: {len(found)} keys in one call; the limit is {_KEYS_MAX}, so split the "
            "call"
        )
    found = [key_bytes(operation, key) for key in found]
    total = sum(len(key) + 8 for key in found) + 64
    if total > _CALL_BYTES_MAX:
        raise StoreLimitError(
            f"{operation}: {total} bytes in one call; the limit is {_CALL_BYTES_MAX}, so split the "
            "call"
        )
    return found


def list_of(items: Iterable[Text]) -> list[bytes]:
    """A list of any iterable; a single string does not count as a list of its letters."""
    return [bytes_of(item, "each item") for item in _each_of(items)]


def pairs_of(keys: Iterable[Text], values: Iterable[Value]) -> list[tuple[bytes, bytes]]:
    """The keys and values of multi_set. Raises TypeError, StoreValueError."""
    names = list_of(keys)
    items = [bytes_of_value(value, "each item") for value in _each_of(values)]
    if len(names) != len(items):
        raise StoreValueError(f"multi_set: {len(names)} keys but {len(items)} values")
    return list(zip(names, items, strict=True))


def seconds(timeout: Timeout, what: str = "a timeout") -> float:
    """Infinity for an enormous number. Raises TypeError, and ValueError for a negative number."""
    if isinstance(timeout, timedelta):
        value = timeout.total_seconds()
    elif isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(
            f"{what} must be a datetime.timedelta or a number of seconds, not {type_name(timeout)}"
        )
    else:
        value = timeout
    if not value >= 0:
        raise ValueError(f"{what} must not be negative or NaN")
    return float(value) if value < FOREVER_S else math.inf


def whole_number(value: int, what: str) -> int:
    """An int of 64 bits. Raises TypeError, StoreValueError."""
    number = _index(value, what)
    if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
        raise StoreValueError(f"{what}: {number} does not fit in 64 bits")
    return number


def version_number(version: int) -> int:
    """Raises TypeError, StoreValueError."""
    number = _index(version, "a version")
    if not 0 <= number < 2**64:
        raise StoreValueError(
            f"version {number} is not a version; pass 0, or a version that watch or "
            "set_if_version returned"
        )
    return number


def check_ranks(key: bytes, rank: int, world_size: int, operation: str = "exchange") -> None:
    """Check those of an exchange or a barrier. Raises StoreValueError, StoreLimitError."""
    text = f"{operation} at key {quoted(key)}: "
    if world_size < 1:
        raise StoreValueError(f"{text}world_size is {world_size}; it must be at least 1")
    if not 0 <= rank < world_size:
        raise StoreValueError(f"{text}rank {rank} is not between 0 and {world_size - 1}")
    if world_size > _KEYS_MAX:
        raise StoreLimitError(f"{text}world_size is {world_size}; the limit is {_KEYS_MAX}")
    key_bytes(operation, key + b"/world_size")  # the longest that it has


def shown_keys(keys: Iterable[bytes]) -> list[str]:
    """The keys that an error names, as in `list_keys`: at most the first 1,024."""
    return [key.decode("utf-8", "surrogateescape") for key in islice(keys, _NAMED_KEYS_MAX)]


def quoted(data: bytes) -> str:
    """A key or value, as messages show it."""
    shown = data[:_SHOWN_BYTES_MAX].decode("utf-8", "backslashreplace")
    text = "".join(c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}" for c in shown)
    return f"'{text}...'" if len(data) > _SHOWN_BYTES_MAX else f"'{text}'"


def quoted_list(items: Iterable[bytes]) -> str:
    """The first few, and how many more there are."""
    keys = list(items)
    text = ", ".join(map(quoted, keys[:_SHOWN_ITEMS_MAX]))
    more = len(keys) - _SHOWN_ITEMS_MAX
    return f"{text} and {more} more" if more > 0 else text


def seconds_text(duration_s: float) -> str:
    """As errors say it: "0.25 s"."""
    return f"{duration_s:.3f}".rstrip("0").rstrip(".") + " s"


def bytes_of(text: object, what: str = "a key or value") -> bytes:
    """Raises TypeError."""
    if isinstance(text, str):
        # As list_keys shows keys that are no UTF-8.
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"{what} must be str or bytes, not {type_name(text)}")


def bytes_of_value(value: object, what: str = "a key or value") -> bytes:
    """Copies mutable values. Raises TypeError."""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return bytes_of(value, what)


def type_name(value: object) -> str:
    """As messages show it."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _each_of(items: object) -> Iterable[object]:
    if isinstance(items, (str, bytes, bytearray, memoryview)):
        raise TypeError(
            f"expected a list of str or bytes, not one {type_name(items)}; put it into a list"
        )
    try:
        return iter(items)  # type: ignore[call-overload, no-any-return]  # what is none raises
    except TypeError:
        raise TypeError(f"expected a list of str or bytes, not {type_name(items)}") from None


def _index(value: object, what: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]  # what is none raises
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type_name(value)}") from None
