"""One record for each transition of a node: to the log, to a callback, to plug-ins.

The log is `rendezvous.events`: a line of JSON, and the record itself as its attribute `event`.
Plug-ins are entry points of the group `rendezvous.events`: each is called with every record. What
goes wrong in a callback is told in the log, and nothing else. Called on whatever thread the
transition is seen by; knows nothing of a rendezvous.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

__all__ = ["GROUP", "Event", "Events", "OnEvent"]

GROUP = "rendezvous.events"

_log = logging.getLogger(__name__)
_records = logging.getLogger(GROUP)


@dataclass(frozen=True)
class Event:
    """What has happened to one node.

    Attributes:
        what: `joining`, `joined`, `join_failed`, `changed`, `excluded`, `left`, `gave_up`,
            `closed`; of `rendezvous exec` also `started`, `stopped`, `ended`, `failed`.
        run_id: of its job.
        node, pid: its address, and its process.
        round: its last one; 0: none yet.
        rank, world_size: of the node in that round; -1 and 0: none.
        why: the reason, in words; empty where there is nothing to say.
        duration_s: how long what has ended here took: joining, a round, a command; None: nothing.
        unix_s: when, by this machine's clock.
        details: more about some of them, see docs/launchers.md.
    """

    what: str
    run_id: str
    node: str = ""
    pid: int = 0
    round: int = 0
    rank: int = -1
    world_size: int = 0
    why: str = ""
    duration_s: float | None = None
    unix_s: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), default=str)


OnEvent: TypeAlias = Callable[[Event], object]


class Events:
    """Makes the records of one node.

    Attributes:
        round, rank, world_size: of the records that are made from now on.
    """

    def __init__(self, run_id: str, node: str, on_event: OnEvent | None = None) -> None:
        self._run_id = run_id
        self._node = node
        self._on_event = on_event
        self.round, self.rank, self.world_size = 0, -1, 0

    def emit(
        self, what: str, why: str = "", duration_s: float | None = None, **details: Any
    ) -> None:
        """Something has happened, now."""
        event = Event(
            what=what,
            run_id=self._run_id,
            node=self._node,
            pid=os.getpid(),
            round=self.round,
            rank=self.rank,
            world_size=self.world_size,
            why=why,
            duration_s=None if duration_s is None else round(duration_s, 6),
            unix_s=time.time(),
            details=details,
        )
        if _records.isEnabledFor(logging.INFO):
            _records.info("%s", event.as_json(), extra={"event": event})
        for callback in (self._on_event, *_plugins()):
            if callback is None:
                continue
            try:
                callback(event)
            except Exception:  # noqa: BLE001  (whatever somebody else's code raises)
                _log.exception("a callback for events failed at %r", event.what)


@functools.cache
def _plugins() -> tuple[OnEvent, ...]:
    """Looked for once a process: an event costs no look through the installed packages."""
    from importlib.metadata import entry_points

    found: list[OnEvent] = []
    for entry in entry_points(group=GROUP):
        try:
            callback = entry.load()
            if not callable(callback):
                raise TypeError(f"{callback!r} cannot be called")  # noqa: TRY301
            found.append(callback)
        except Exception as error:  # noqa: BLE001  (whatever somebody else's module raises)
            _log.warning("the plug-in %s for events cannot be loaded: %s", entry.value, error)
    return tuple(found)
