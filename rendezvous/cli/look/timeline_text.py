"""How an event of a run is told as a line of text. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rendezvous._base.text import node_text

if TYPE_CHECKING:
    from rendezvous._coordination.by_server.timeline import RunEvent

__all__ = ["as_line"]


def as_line(event: RunEvent) -> str:
    """`2026-11-29 09:00:00.123  round 1  lost       node7 (pid 41): its connection broke`."""
    at = datetime.fromtimestamp(event.time_s).astimezone()
    where = f"round {event.round}" if event.kind != "warning" else "server"
    kind = event.kind.replace("_", " ")
    when = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"
    return f"{when}  {where:<9} {kind:<10} {_what(event)}".rstrip()


def _what(event: RunEvent) -> str:
    node = event.node
    name = "" if node is None else node_text(node)
    nodes = "1 node" if event.nodes == 1 else f"{event.nodes} nodes"
    if event.kind == "complete":
        last = f"; {name} came last" if name else ""
        return f"{nodes} in {event.took_s:.3f} s{last}"
    if event.kind == "last_call":
        return f"{event.took_s:.3g} s, with {nodes}"
    if event.kind == "broken":
        return f"the connection of {name}; it may come back for {event.took_s:.3g} s"
    if event.kind == "timed_out":
        return f"{name} after {event.took_s:.3g} s: {event.text}"
    if event.kind == "joined":
        return f"{name}; {nodes}"
    return ": ".join(filter(None, (name, event.text)))
