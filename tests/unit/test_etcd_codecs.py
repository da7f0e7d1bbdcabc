"""How etcd's messages and HTTP/2's headers are written: against bytes of their specifications."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rendezvous.backends.etcd._transport import hpack
from rendezvous.backends.etcd._transport.json_mapping import from_json, to_json
from rendezvous.backends.etcd._transport.protobuf import MalformedError, decode, encode
from rendezvous.backends.etcd._transport.schema import METHODS, Field, Names, Scalar, Shape

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


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        # RFC 7541, C.2.1 to C.2.4 and C.4.1: literals, indexed, Huffman's code
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            [(b"custom-key", b"custom-header")],
        ),
        ("040c2f73616d706c652f70617468", [(b":path", b"/sample/path")]),
        ("100870617373776f726406736563726574", [(b"password", b"secret")]),
        ("82", [(b":method", b"GET")]),
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            [
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":path", b"/"),
                (b":authority", b"www.example.com"),
            ],
        ),
        # C.6.1, the first of its headers: 302 in Huffman's code; a size of 0 before it
        ("2048826402", [(b":status", b"302")]),
        ("", []),
    ],
)
def test_header_blocks_are_those_of_the_rfc(block: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Decoded as its examples say."""
    assert list(hpack.decode_block(bytes.fromhex(block))) == headers


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 300, 20_000])
def test_headers_come_back_as_they_were(size: int) -> None:
    """Of every length, around those where a length gets another byte."""
    header = (b"token", b"x" * size)
    assert hpack.decode_block(hpack.encode_header(*header)) == (header,)


@pytest.mark.parametrize(
    "block",
    [
        "80",  # the header 0
        "be",  # of the dynamic table
        "7f00",  # the same, as a name
        "3fe10f",  # room for a dynamic table
        "ffffffffffff7f",  # a number without end
        "0003",  # ends within a string
        "00",
        "100161",
        "0081ff00",  # padding of eight bits
        "00811800",  # padding that is not of ones
        "0084ffffffff00",  # the end of a string, in a string
    ],
)
def test_what_is_no_header_block_is_an_error(block: str) -> None:
    """Always the same one."""
    with pytest.raises(hpack.HpackError):
        hpack.decode_block(bytes.fromhex(block))


def test_huffmans_code_is_complete() -> None:
    """Each byte has a code, and no sequence of bits is without a meaning (RFC 7541, appendix B)."""
    codes = hpack._huffman_codes()
    assert sorted(codes.values()) == list(range(257))
    assert sum(2.0**-length for length, _ in codes) == 1.0
    # A few of the table.
    symbols = {symbol: key for key, symbol in codes.items()}
    assert symbols[ord("0")] == (5, 0x0)
    assert symbols[ord("a")] == (5, 0x3)
    assert symbols[ord("X")] == (8, 0xFC)
    assert symbols[0] == (13, 0x1FF8)
    assert symbols[255] == (26, 0x3FFFFEE)
    assert symbols[256] == (30, 0x3FFFFFFF)
