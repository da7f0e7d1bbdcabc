"""The part of etcd's API that we use: its methods, and the fields of their messages. Only data.

Numbers and names are those of etcd's `rpc.proto`, `kv.proto` (API 3.4 to 3.6); fields that are not
listed are neither sent nor read. In Python a message is a dictionary: bytes, int, bool and str,
names for enumerations, lists for repeated fields. What is absent has the type's empty value.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = ["METHODS", "Field", "Kind", "Method", "Names", "Scalar", "Shape"]


class Scalar(Enum):
    """Types of fields that need no table. INT is any of protobuf's 64-bit varints, signed."""

    BYTES = "bytes"
    STRING = "string"
    INT = "int"
    BOOL = "bool"


@dataclass(frozen=True)
class Names:
    """An enumeration whose numbers count from 0."""

    names: tuple[str, ...]


Kind: TypeAlias = "Scalar | Names | Shape"


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    name: str
    number: int
    kind: Kind
    repeated: bool = False


class Shape:
    """A message's fields, by name and by number."""

    def __init__(self, *fields: Field) -> None:
        self.by_name = {field.name: field for field in fields}
        self.by_number = {field.number: field for field in fields}


@dataclass(frozen=True)
class Method:
    """A call.

    path: of its gRPC request.
    answers_stream: its answers are a stream of gRPC's, also where one is all that we want.
    """

    path: str
    request: Shape
    response: Shape
    answers_stream: bool = False


_KEY = Field("key", 1, Scalar.BYTES)
_RANGE_END = Field("range_end", 2, Scalar.BYTES)
_HEADER = Field("header", 1, Shape(Field("revision", 3, Scalar.INT)))
_SORT_ORDER = Names(("NONE", "ASCEND", "DESCEND"))
_SORT_TARGET = Names(("KEY", "VERSION", "CREATE", "MOD", "VALUE"))
_COMPARE_RESULT = Names(("EQUAL", "GREATER", "LESS", "NOT_EQUAL"))
_COMPARE_TARGET = Names(("VERSION", "CREATE", "MOD", "VALUE", "LEASE"))
_EVENT_TYPE = Names(("PUT", "DELETE"))

_KEY_VALUE = Shape(
    _KEY,
    Field("mod_revision", 3, Scalar.INT),
    Field("value", 5, Scalar.BYTES),
    Field("lease", 6, Scalar.INT),
)
_RANGE_REQUEST = Shape(
    _KEY,
    _RANGE_END,
    Field("limit", 3, Scalar.INT),
    Field("revision", 4, Scalar.INT),
    Field("sort_order", 5, _SORT_ORDER),
    Field("sort_target", 6, _SORT_TARGET),
    Field("keys_only", 8, Scalar.BOOL),
    Field("count_only", 9, Scalar.BOOL),
)
_RANGE_RESPONSE = Shape(
    _HEADER,
    Field("kvs", 2, _KEY_VALUE, repeated=True),
    Field("count", 4, Scalar.INT),
)
_PUT_REQUEST = Shape(
    _KEY,
    Field("value", 2, Scalar.BYTES),
    Field("lease", 3, Scalar.INT),
    Field("ignore_lease", 6, Scalar.BOOL),
)
_PUT_RESPONSE = Shape(_HEADER)
_DELETE_REQUEST = Shape(_KEY, _RANGE_END)
_DELETE_RESPONSE = Shape(_HEADER, Field("deleted", 2, Scalar.INT))
_REQUEST_OP = Shape(
    Field("request_range", 1, _RANGE_REQUEST),
    Field("request_put", 2, _PUT_REQUEST),
    Field("request_delete_range", 3, _DELETE_REQUEST),
)
_RESPONSE_OP = Shape(
    Field("response_range", 1, _RANGE_RESPONSE),
    Field("response_put", 2, _PUT_RESPONSE),
    Field("response_delete_range", 3, _DELETE_RESPONSE),
)
_COMPARE = Shape(
    Field("result", 1, _COMPARE_RESULT),
    Field("target", 2, _COMPARE_TARGET),
    Field("key", 3, Scalar.BYTES),
    Field("create_revision", 5, Scalar.INT),
    Field("mod_revision", 6, Scalar.INT),
    Field("value", 7, Scalar.BYTES),
)
_TXN_REQUEST = Shape(
    Field("compare", 1, _COMPARE, repeated=True),
    Field("success", 2, _REQUEST_OP, repeated=True),
    Field("failure", 3, _REQUEST_OP, repeated=True),
)
_TXN_RESPONSE = Shape(
    _HEADER,
    Field("succeeded", 2, Scalar.BOOL),
    Field("responses", 3, _RESPONSE_OP, repeated=True),
)
_LEASE_RESPONSE = Shape(_HEADER, Field("ID", 2, Scalar.INT), Field("TTL", 3, Scalar.INT))
_WATCH_REQUEST = Shape(
    Field(
        "create_request",
        1,
        Shape(_KEY, _RANGE_END, Field("start_revision", 3, Scalar.INT)),
    )
)
_WATCH_RESPONSE = Shape(
    _HEADER,
    Field("created", 3, Scalar.BOOL),
    Field("canceled", 4, Scalar.BOOL),
    Field("compact_revision", 5, Scalar.INT),
    Field("cancel_reason", 6, Scalar.STRING),
    Field(
        "events",
        11,
        Shape(Field("type", 1, _EVENT_TYPE), Field("kv", 2, _KEY_VALUE)),
        repeated=True,
    ),
)

# By the path below /v3/ that a method has at the gateway.
METHODS = {
    "kv/range": Method("/etcdserverpb.KV/Range", _RANGE_REQUEST, _RANGE_RESPONSE),
    "kv/put": Method("/etcdserverpb.KV/Put", _PUT_REQUEST, _PUT_RESPONSE),
    "kv/deleterange": Method("/etcdserverpb.KV/DeleteRange", _DELETE_REQUEST, _DELETE_RESPONSE),
    "kv/txn": Method("/etcdserverpb.KV/Txn", _TXN_REQUEST, _TXN_RESPONSE),
    "lease/grant": Method(
        "/etcdserverpb.Lease/LeaseGrant", Shape(Field("TTL", 1, Scalar.INT)), _LEASE_RESPONSE
    ),
    "lease/revoke": Method(
        "/etcdserverpb.Lease/LeaseRevoke", Shape(Field("ID", 1, Scalar.INT)), Shape(_HEADER)
    ),
    "lease/keepalive": Method(
        "/etcdserverpb.Lease/LeaseKeepAlive",
        Shape(Field("ID", 1, Scalar.INT)),
        _LEASE_RESPONSE,
        answers_stream=True,
    ),
    "lease/timetolive": Method(
        "/etcdserverpb.Lease/LeaseTimeToLive",
        Shape(Field("ID", 1, Scalar.INT), Field("keys", 2, Scalar.BOOL)),
        Shape(
            _HEADER,
            Field("ID", 2, Scalar.INT),
            Field("TTL", 3, Scalar.INT),
            Field("grantedTTL", 4, Scalar.INT),
            Field("keys", 5, Scalar.BYTES, repeated=True),
        ),
    ),
    "watch": Method(
        "/etcdserverpb.Watch/Watch", _WATCH_REQUEST, _WATCH_RESPONSE, answers_stream=True
    ),
    "auth/authenticate": Method(
        "/etcdserverpb.Auth/Authenticate",
        Shape(Field("name", 1, Scalar.STRING), Field("password", 2, Scalar.STRING)),
        Shape(Field("token", 2, Scalar.STRING)),
    ),
}
