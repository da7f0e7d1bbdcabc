"""What callers of the store pass, checked as the other stores do. Pure.

Owns the limit that is etcd's own; the rest is common to all stores in Python.
"""

from rendezvous._base.arguments import Value
from rendezvous._base.arguments import value_bytes as value_bytes_of

__all__ = ["value_bytes"]

# etcd's makers advise against more than 10 MiB, its default is 1.5 MiB, and its gateway needs most
# of a minute to refuse 64 MiB (over gRPC it refuses at once).
_VALUE_BYTES_MAX = 10 * 1024 * 1024


def value_bytes(operation: str, key: bytes, value: Value) -> bytes:
    """Raises TypeError, StoreLimitError."""
    return value_bytes_of(operation, key, value, _VALUE_BYTES_MAX)
