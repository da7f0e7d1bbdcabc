"""What the contract of the stores is tested on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from rendezvous import (
    Store,
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreNoAnswerError,
    StoreTimeoutError,
)

T = TypeVar("T")


@dataclass
class Stores:
    """One store, seen by as many clients as a test asks for."""

    kind: str
    client: Callable[[], Store]

    @property
    def speaks_c10d(self) -> bool:
        """Whether the clients speak torch's protocol, which says less than a store can mean."""
        return self.kind.endswith("c10d") or self.speaks_to_torch

    @property
    def speaks_to_torch(self) -> bool:
        """Whether the server is torch's own."""
        return self.kind.startswith("torch")

    @property
    def is_in_etcd(self) -> bool:
        """Whether a cluster has limits of its own for values."""
        return self.kind.removeprefix("prefix-").startswith("etcd")

    @property
    def has_queues(self) -> bool:
        return self.kind != "torch-old"

    @property
    def has_versions(self) -> bool:
        """Whether it has watch, set_if_version and times to live, which torch's stores have not."""
        return not self.speaks_c10d and not self.kind.endswith("duck")

    @property
    def swaps_surely(self) -> bool:
        """Whether compare_exchange is right about `swapped` whatever others write meanwhile."""
        return not self.speaks_to_torch and not self.kind.endswith("duck")

    def skip_on_torch(self, what_it_does: str) -> None:
        """For what a server of torch's decides alone, and no client can make better."""
        if self.speaks_to_torch:
            pytest.skip(f"torch's server {what_it_does}")


def refused(stores: Stores, error: type[StoreError], match: str) -> AbstractContextManager[Any]:
    """The server refuses: with an error, or in the c10d protocol, which has none, by hanging up."""
    if stores.speaks_c10d:
        return pytest.raises(StoreConnectionError, match="close it to refuse")
    return pytest.raises(error, match=match)


def not_there(call: Callable[[], object]) -> StoreKeysMissingError:
    """The error of a call that has hardly any time: what it waits for is missing.

    On a busy machine there may be no answer in that time; then it is called again. So it must be
    one that may be.
    """
    while True:
        with pytest.raises(StoreTimeoutError) as caught:
            call()
        if isinstance(caught.value, StoreKeysMissingError):
            return caught.value
        assert isinstance(caught.value, StoreNoAnswerError)


def answered(call: Callable[[], T]) -> T:
    """What a call that has hardly any time returns: on a busy machine it is called again."""
    while True:
        with contextlib.suppress(StoreNoAnswerError):
            return call()
