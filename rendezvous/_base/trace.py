"""A span for each round that a node joins, where the program traces with OpenTelemetry.

Without its SDK nothing would become of a span, and whoever sets that up has imported the API: so it
is used if it is there, and never imported from here. Knows nothing of a rendezvous.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rendezvous import _core

__all__ = ["RoundSpan", "round_span"]

_API = "opentelemetry.trace"
_NAME = "rendezvous.join"


class _Round(Protocol):
    """Of a RendezvousInfo, or of asyncio's World."""

    @property
    def round(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...


class _Span(Protocol):
    def set_attribute(self, key: str, value: Any) -> None: ...


class RoundSpan:
    """What is said of the round at the end."""

    def __init__(self, span: _Span | None) -> None:
        self._span = span

    def note(self, place: _Round) -> None:
        """The node has its place."""
        if self._span is None:
            return
        self._span.set_attribute("rendezvous.round", place.round)
        self._span.set_attribute("rendezvous.rank", place.rank)
        self._span.set_attribute("rendezvous.world_size", place.world_size)


@contextmanager
def round_span(run_id: str, node: str) -> Iterator[RoundSpan]:
    """The span `rendezvous.join`, from asking for a round to having a place in it.

    Its attributes: `rendezvous.run_id`, `.node`, and of the round `.round`, `.rank`, `.world_size`.
    An exception is recorded in it, and makes its status an error.
    """
    api = sys.modules.get(_API)
    # Another thread may be in the middle of importing it.
    if api is None or not hasattr(api, "get_tracer"):
        yield RoundSpan(None)
        return
    attributes = {"rendezvous.run_id": run_id, "rendezvous.node": node}
    tracer = api.get_tracer("rendezvous", _core.__version__)
    with tracer.start_as_current_span(_NAME, attributes=attributes) as span:
        yield RoundSpan(span)
