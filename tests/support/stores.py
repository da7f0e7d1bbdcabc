"""What the contract of the stores is tested on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from rendezvous import Store, StoreConnectionError, StoreError


@dataclass
class Stores:
    """One store, seen by as many clients as a test asks for."""

    kind: str
    client: Callable[[], Store]

    @property
    def speaks_c10d(self) -> bool:
        """Whether the clients speak torch's protocol, which says less than a store can mean."""
        return self.kind.endswith("c10d")


def refused(stores: Stores, error: type[StoreError], match: str) -> AbstractContextManager[Any]:
    """The server refuses: with an error, or in the c10d protocol, which has none, by hanging up."""
    if stores.speaks_c10d:
        return pytest.raises(StoreConnectionError, match="close it at what they refuse")
    return pytest.raises(error, match=match)
