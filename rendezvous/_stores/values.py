"""Converts the arguments and results of a store that is a Python object. Pure; knows no store.

Keys are passed as str (bytes if they are not UTF-8), timeouts as timedelta.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from rendezvous._base.arguments import FOREVER_S, bytes_of_value, type_name
from rendezvous._base.errors import StoreValueError

__all__ = [
    "key_text",
    "listed_key",
    "returned_number",
    "returned_value",
    "returned_values",
    "takes",
    "timedelta_of",
]


def timedelta_of(timeout_s: float) -> timedelta:
    """In whole milliseconds, as torch's stores count; only 0 becomes 0, and infinity 30 years."""
    if timeout_s >= FOREVER_S:
        return timedelta(seconds=FOREVER_S)
    return timedelta(milliseconds=math.ceil(timeout_s * 1000))


def takes(method: Callable[..., Any], parameter: str) -> bool:
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):
        return False  # a compiled method, as torch's are, has no signature
    return parameter in parameters or any(
        each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()
    )


def key_text(key: bytes) -> str | bytes:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def listed_key(found: object) -> bytes:
    if isinstance(found, (str, bytes)):
        return found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found
    raise TypeError(f"a key that list_keys returns must be str or bytes, not {type_name(found)}")


def returned_value(found: object) -> bytes:
    return bytes_of_value(found, "a value returned by a store")


def returned_values(found: Iterable[object]) -> list[bytes]:
    return [returned_value(value) for value in found]


def returned_number(operation: str, found: object) -> int:
    if isinstance(found, int):
        return int(found)
    raise StoreValueError(f"{operation} of a store returned {type_name(found)}, not int")
