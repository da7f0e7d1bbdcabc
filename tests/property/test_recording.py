"""What is written down of a call: only what its store said."""

from __future__ import annotations

import pytest
from property.linearizability import NEVER
from property.recording import record

from rendezvous import (
    HashStore,
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreNoAnswerError,
)


class Failing:
    """Its get ends with an error; all else works."""

    def __init__(self, error: StoreError) -> None:
        self.error = error
        self.inner = HashStore()

    def get(self, key: bytes, timeout: float) -> bytes:
        raise self.error

    def set(self, key: bytes, value: bytes) -> None:
        raise self.error

    def compare_exchange(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, bool]:
        return self.inner.compare_exchange(key, expected, desired)

    def add(self, key: bytes, amount: int) -> int:
        return self.inner.add(key, amount)

    def delete_key(self, key: bytes) -> bool:
        return self.inner.delete_key(key)


def test_a_missing_key_is_a_result() -> None:
    """The store has said that it is not there."""
    call = record(Failing(StoreKeysMissingError("timeout", keys=["k"])), "a", "get", b"k")
    assert call.result is None
    assert call.returned >= call.invoked
    assert call.returned != NEVER


@pytest.mark.parametrize("error", [StoreNoAnswerError, StoreConnectionError])
def test_no_answer_is_no_result(error: type[StoreError]) -> None:
    """A read that nobody answered must not be taken for one that found nothing."""
    call = record(Failing(error("timeout: no answer")), "a", "get", b"k")
    assert call.returned == NEVER
    assert record(Failing(error("timeout")), "a", "set", b"k", b"v").returned == NEVER
