"""What the contract of the stores is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rendezvous import Store


@dataclass
class Stores:
    """One store, seen by as many clients as a test asks for."""

    kind: str
    client: Callable[[], Store]
