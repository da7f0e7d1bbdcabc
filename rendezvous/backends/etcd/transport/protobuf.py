"""Messages as protobuf's bytes, both ways, by their shape. Pure.

Source: protobuf's encoding (https://protobuf.dev/programming-guides/encoding/). Only what etcd's
messages have: varints and what is delimited by a length; the rest is skipped.
"""

from typing import Any

from rendezvous.backends.etcd.transport.interface import Message
from rendezvous.backends.etcd.transport.schema import Field, Names, Scalar, Shape

__all__ = ["MalformedError", "decode", "encode"]

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_VARINT_BITS_MAX = 64


class MalformedError(ValueError):
    """The bytes are no such message."""


def encode(shape: Shape, message: Message) -> bytes:
    """Every field that is in the message, also if it is empty; KeyError for one it cannot have."""
    parts: list[bytes] = []
    for name, value in message.items():
        field = shape.by_name[name]
        for each in value if field.repeated else (value,):
            data = _value_bytes(field, each)
            if isinstance(data, int):
                parts += (_varint(field.number << 3 | _VARINT), _varint(data))
            else:
                parts += (_varint(field.number << 3 | _DELIMITED), _varint(len(data)), data)
    return b"".join(parts)


def decode(shape: Shape, data: bytes) -> Message:
    """Fields that the shape does not have are skipped. Raises MalformedError."""
    message: Message = {}
    position, end = 0, len(data)
    by_number = shape.by_number
    while position < end:
        tag, position = _read_varint(data, position)
        wire_type = tag & 7
        value: Any
        if wire_type == _VARINT:
            value, position = _read_varint(data, position)
        else:
            if wire_type == _DELIMITED:
                length, begin = _read_varint(data, position)
            else:
                length, begin = _fixed_bytes(wire_type), position
            position = begin + length
            if position > end:
                raise MalformedError("a field is longer than its message")
            value = data[begin:position]
        field = by_number.get(tag >> 3)
        if field is None:
            continue
        if (wire_type == _VARINT) != _is_number(field):
            raise MalformedError(f"the field {field.name} has another type")
        value = _value_of(field, value)
        if field.repeated:
            message.setdefault(field.name, []).append(value)
        else:
            message[field.name] = value
    return message


def _is_number(field: Field) -> bool:
    return field.kind in (Scalar.INT, Scalar.BOOL) or isinstance(field.kind, Names)


def _value_bytes(field: Field, value: Any) -> int | bytes:
    kind = field.kind
    if isinstance(kind, Shape):
        return encode(kind, value)
    if isinstance(kind, Names):
        return kind.names.index(value)
    if kind is Scalar.STRING:
        return str(value).encode()
    if kind is Scalar.BYTES:
        return bytes(value)
    return int(value)


def _value_of(field: Field, value: Any) -> Any:
    kind = field.kind
    if kind is Scalar.BYTES:
        return value
    if kind is Scalar.INT:
        return value - (1 << 64) if value >> 63 else value
    if isinstance(kind, Shape):
        return decode(kind, value)
    if kind is Scalar.BOOL:
        return value != 0
    if isinstance(kind, Names):
        # A later version may have more of them.
        return kind.names[value] if value < len(kind.names) else str(value)
    return value.decode("utf-8", "replace")


def _varint(value: int) -> bytes:
    """Of a number that is not negative, or of a 64-bit one that is."""
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number, and where the next field begins."""
    try:
        byte = data[position]
        if byte < 0x80:
            return byte, position + 1
        value, shift = byte & 0x7F, 7
        while shift < _VARINT_BITS_MAX:
            position += 1
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & ((1 << 64) - 1), position + 1
            shift += 7
    except IndexError:
        raise MalformedError("it ends in the middle of a number") from None
    raise MalformedError("a number is longer than 64 bits")


def _fixed_bytes(wire_type: int) -> int:
    try:
        return {_FIXED64: 8, _FIXED32: 4}[wire_type]
    except KeyError:
        raise MalformedError(f"unknown wire type {wire_type}") from None
