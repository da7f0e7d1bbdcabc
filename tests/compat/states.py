"""States of a run as nodes keep them in a store, and what each one says."""

from __future__ import annotations

from typing import Any

from rendezvous import Node
from rendezvous._core import Group, GroupSettings

NODES = [Node(f"host{number}", number, 0) for number in range(1, 5)]
_RULES = GroupSettings(2, 3, 30.0, 5.0, 3)


def record() -> list[dict[str, str]]:
    """As JSON has it: a run from its beginning to its end."""
    group, found = Group(), []

    def note(label: str) -> None:
        found.append({"label": label, "state": group.encode().hex(), "says": said(group)})

    group.join(NODES[0], _RULES, 0, 0.0)
    note("one waits")
    group.join(NODES[1], _RULES, 0, 1.0)
    note("the last call")
    group.join(NODES[2], _RULES, 0, 2.0)
    note("a complete round")
    group.join(NODES[3], _RULES, 0, 3.0)
    note("a spare")
    group.leave(NODES[0], True, 4.0)
    note("one is lost")
    group.join(NODES[1], _RULES, 1, 5.0)
    group.join(NODES[2], _RULES, 1, 5.0)
    note("the next round")
    group.give_up(NODES[2], 6, 1_700_000_000_000, b"last words", 6.0)
    note("one gave up")
    group.close("enough", 1_700_000_000_000)
    note("closed")
    return found


def said(group: Group) -> str:
    """What users see of it."""
    seen: dict[str, Any] = {
        "round": group.round,
        "complete": group.complete,
        "closed": group.closed,
        "reason": group.close_reason,
        "failed": group.failed,
        "world size": group.world_size,
        "participants": group.participants,
        "waiting": group.waiting,
        "spares": group.spares,
        "lost": group.lost,
        "ranks": [group.placement(node).rank for node in NODES],
        "cause": group.cause,
        "settings": group.settings,
    }
    return repr(seen)
