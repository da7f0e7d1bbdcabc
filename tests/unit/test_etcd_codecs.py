"""How etcd's messages are written: against bytes of protobuf's specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rendezvous.backends.etcd.transport.json_mapping import from_json, to_json
from rendezvous.backends.etcd.transport.protobuf import MalformedError, decode, encode
from rendezvous.backends.etcd.transport.schema import METHODS, Field, Names, Scalar, Shape

INNER = Shape(Field("a", 1, Scalar.INT))
ALL = Shape(
    Field("number", 1, Scalar.INT),
    Field("text", 2, Scalar.STRING),
    Field("inner", 3, INNER),
    Field("flag", 4, Scalar.BOOL),
    Field("data", 5, Scalar.BYTES),
    Field("kind", 6, Names(("NONE", "SOME"))),
    Field("many", 7, INNER, repeated=True),
    Field("numbers", 300, Scalar.INT, repeated=True),
)
MESSAGE: dict[str, Any] = {
    "number": -1,
    "text": "☃",
    "inner": {"a": 150},
    "flag": True,
    "data": b"\x00\xff",
    "kind": "SOME",
    "many": [{"a": 1}, {}],
    "numbers": [0, 2**63 - 1, -(2**63)],
}


@pytest.mark.parametrize(
    ("message", "data"),
    [
        # https://protobuf.dev/programming-guides/encoding/
        ({"number": 150}, "089601"),
        ({"text": "testing"}, "120774657374696e67"),
        ({"inner": {"a": 150}}, "1a03089601"),
        ({"number": -2}, "08feffffffffffffffff01"),
        ({"data": b""}, "2a00"),
        ({}, ""),
    ],
)
def test_protobuf_is_that_of_its_specification(message: dict[str, Any], data: str) -> None:
    """Both ways."""
    assert encode(ALL, message).hex() == data
    assert decode(ALL, bytes.fromhex(data)) == message


def test_messages_come_back_as_they_were() -> None:
    """In protobuf and in JSON."""
    assert decode(ALL, encode(ALL, MESSAGE)) == MESSAGE
    assert from_json(ALL, json.loads(json.dumps(to_json(ALL, MESSAGE)))) == MESSAGE


def test_fields_of_later_versions_are_skipped() -> None:
    """Of every type that protobuf has; so are names, and numbers of enumerations."""
    unknown = bytes.fromhex("f80101f901" + "00" * 8 + "fa010178fd01" + "00" * 4)
    assert decode(ALL, unknown + b"\x08\x01" + unknown) == {"number": 1}
    assert decode(ALL, b"\x30\x07") == {"kind": "7"}
    assert from_json(ALL, {"later": {}, "number": "1", "data": None}) == {"number": 1}


def test_every_part_of_a_message_is_a_message_or_malformed() -> None:
    """Cut anywhere: no other error."""
    data = encode(ALL, MESSAGE)
    malformed = 0
    for end in range(len(data)):
        try:
            decode(ALL, data[:end])
        except MalformedError:
            malformed += 1
    assert malformed > len(data) / 2


@pytest.mark.parametrize(
    "data",
    [
        "0affffffffffffffffff01",  # longer than all memory
        "08ffffffffffffffffffff01",  # a number of more than 64 bits
        "0b",  # a group, which nothing has
        "0a00",  # bytes where a number belongs
        "2801",  # a number where bytes belong
        "1a020a00",  # the same within
    ],
)
def test_what_is_no_message_is_malformed(data: str) -> None:
    """And says so, whatever a member sends."""
    with pytest.raises(MalformedError):
        decode(ALL, bytes.fromhex(data))


@pytest.mark.parametrize("found", [{"inner": 1}, {"many": 1}, {"data": "x"}, {"number": "x"}])
def test_what_is_no_message_in_json_is_a_value_error(found: dict[str, Any]) -> None:
    """And nothing else."""
    with pytest.raises(ValueError, match=r"type|literal"):
        from_json(ALL, found)


def test_a_field_that_a_message_cannot_have_is_an_error_of_ours() -> None:
    """It would be dropped silently."""
    for write in (encode, to_json):
        with pytest.raises(KeyError):
            write(METHODS["kv/range"].request, {"kee": b"k"})
