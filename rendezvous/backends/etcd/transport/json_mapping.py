"""Messages in the JSON mapping of proto3, both ways, by their shape. Pure.

Source: https://protobuf.dev/programming-guides/json/. Bytes are base64, 64-bit numbers strings,
enumerations names; what is empty or 0 may be left out.
"""

import base64
import binascii
from typing import Any

from rendezvous.backends.etcd.transport.interface import Message
from rendezvous.backends.etcd.transport.schema import Kind, Scalar, Shape

__all__ = ["from_json", "to_json"]


def to_json(shape: Shape, message: Message) -> dict[str, Any]:
    """What json.dumps takes; KeyError for a field that the shape does not have."""
    found: dict[str, Any] = {}
    for name, value in message.items():
        field = shape.by_name[name]
        if field.repeated:
            found[name] = [_to_json(field.kind, each) for each in value]
        else:
            found[name] = _to_json(field.kind, value)
    return found


def from_json(shape: Shape, found: dict[str, Any]) -> Message:
    """Fields that the shape does not have are left out. Raises ValueError."""
    message: Message = {}
    try:
        for name, value in found.items():
            field = shape.by_name.get(name)
            if field is None or value is None:
                continue
            if field.repeated:
                message[name] = [_from_json(field.kind, each) for each in value]
            else:
                message[name] = _from_json(field.kind, value)
    except (AttributeError, TypeError, binascii.Error) as error:
        raise ValueError(f"a field has another type ({error})") from error
    return message


def _to_json(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Shape):
        return to_json(kind, value)
    if kind is Scalar.BYTES:
        return base64.b64encode(value).decode("ascii")
    if kind is Scalar.INT:
        return str(value)
    return value


def _from_json(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Shape):
        return from_json(kind, value)
    if kind is Scalar.BYTES:
        return base64.b64decode(value)
    if kind is Scalar.INT:
        return int(value)
    return value
