"""How `rendezvous status` tells of a run: as lines of text, and as JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rendezvous._base.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rendezvous._coordination.run_view import RunView
    from rendezvous._core import GroupSettings, Node

__all__ = ["as_json", "as_text"]


def as_text(view: RunView, run_id: str, endpoint: str, excluded: Sequence[str]) -> list[str]:
    """Lines for people. excluded: nodes that do not take part, each with its reason."""
    lines = [
        f"run {run_id!r} at {endpoint}, kept by {_keeper_text(view)}",
        _round_text(view),
    ]
    if view.last_call_left_s is not None:
        at_most = "" if view.kept_by == "server" else "at most "
        lines.append(f"last call: {at_most}{view.last_call_left_s:.1f} s left")
    why = f": {view.reason}" if view.reason else ""
    if view.failed:
        lines.append(f"failed for good, do not restart it{why}")
    elif view.closed:
        lines.append(f"closed, no more nodes can join{why}")
    if view.finished_round:
        lines.append(f"finished: round {view.finished_round} was the last to succeed")
    settings = view.settings
    if settings is not None:
        lines.append(
            f"settings: {_least_and_most(settings)}, "
            f"last call {settings.last_call_timeout:g} s, "
            f"keep-alive every {settings.keep_alive_interval:g} s, "
            f"lost after {settings.keep_alive_max_attempt} missed"
        )
    ranked = [
        (f"rank {rank}  " if rank >= 0 else "") + _node_text(node)
        for rank, node in zip(view.ranks, view.participants, strict=True)
    ]
    lines += _list_text("participants", ranked, view.counts.participants)
    for name in ("waiting", "spares", "lost", "asking"):
        count: int = getattr(view.counts, name)
        if count:
            lines += _list_text(name, [_node_text(node) for node in getattr(view, name)], count)
    lines += _list_text("excluded", list(excluded), len(excluded)) if excluded else []
    return lines


def _keeper_text(view: RunView) -> str:
    if view.kept_by == "server":
        return "the server"
    if view.kept_by == "store":
        return "its nodes, by compare-and-set"
    if view.leader is None:
        return "an elected node; none is elected at the moment"
    return f"{_node_text(view.leader)}, the elected leader"


def _round_text(view: RunView) -> str:
    if view.complete:
        return f"round {view.round}: complete, with {counted(view.world_size, 'rank')}"
    text = f"round {view.round}: forming"
    if view.settings is not None:
        text += (
            f", {view.counts.participants} of at least {counted(view.settings.min_nodes, 'node')}"
        )
    return text


def _least_and_most(settings: GroupSettings) -> str:
    low, high = settings.min_nodes, settings.max_nodes
    return f"{low} to {counted(high, 'node')}" if low < high else counted(high, "node")


def _list_text(name: str, lines: list[str], count: int) -> list[str]:
    text = [f"{name}: {count}", *(f"  {line}" for line in lines)]
    more = count - len(lines)
    if more > 0:
        text.append(f"  and {more} more; --all names them")
    return text


def _node_text(node: Node) -> str:
    return f"{node.addr} (pid {node.pid})"


def as_json(view: RunView, excluded: Sequence[str]) -> dict[str, Any]:
    """An object with all nodes."""
    settings = view.settings
    return {
        "kept_by": view.kept_by,
        "leader": None if view.leader is None else _node_json(view.leader),
        "round": view.round,
        "complete": view.complete,
        "closed": view.closed,
        "failed": view.failed,
        "reason": view.reason,
        "finished_round": view.finished_round,
        "world_size": view.world_size,
        "last_call_left_s": view.last_call_left_s,
        "settings": None
        if settings is None
        else {
            "min_nodes": settings.min_nodes,
            "max_nodes": settings.max_nodes,
            "last_call_timeout_s": settings.last_call_timeout,
            "keep_alive_interval_s": settings.keep_alive_interval,
            "keep_alive_max_attempt": settings.keep_alive_max_attempt,
        },
        "participants": [
            {"rank": rank if rank >= 0 else None} | _node_json(node)
            for rank, node in zip(view.ranks, view.participants, strict=True)
        ],
        "waiting": [_node_json(node) for node in view.waiting],
        "spares": [_node_json(node) for node in view.spares],
        "lost": [_node_json(node) for node in view.lost],
        "asking": [_node_json(node) for node in view.asking],
        "excluded": list(excluded),
    }


def _node_json(node: Node) -> dict[str, Any]:
    return {"addr": node.addr, "pid": node.pid, "local_id": node.local_id}
