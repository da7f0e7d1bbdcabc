"""A run and its events as objects of JSON, as `rendezvous status --json` and the monitor have them.

Pure.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rendezvous._coordination.run_view import key_of

if TYPE_CHECKING:
    from rendezvous._coordination.by_server.timeline import RunEvent
    from rendezvous._coordination.missing import Missing
    from rendezvous._core import Node
    from rendezvous.handler.examine import Report

__all__ = ["event_as_json", "report_as_json"]

_LISTS = ("waiting", "spares", "lost", "asking")


def report_as_json(report: Report) -> dict[str, Any]:
    """An object with all nodes."""
    view = report.view
    settings = view.settings
    return {
        "endpoint": report.endpoint,
        "run_id": report.run_id,
        "kept_by": view.kept_by,
        "leader": None if view.leader is None else _node_json(view.leader),
        "round": view.round,
        "complete": view.complete,
        "closed": view.closed,
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
        "missing": _missing_json(report.missing),
        "similar_runs": list(report.similar),
        "excluded": list(report.excluded),
        "suspects": view.suspects,
        "cause": view.cause or None,
        "failed": view.failed,
        "close_reason": view.close_reason or None,
        "participants": [
            {"rank": rank if rank >= 0 else None} | _listed_json(report, node)
            for rank, node in zip(view.ranks, view.participants, strict=True)
        ],
    } | {name: [_listed_json(report, node) for node in getattr(view, name)] for name in _LISTS}


def _missing_json(missing: Missing) -> dict[str, Any]:
    return {
        "count": missing.count,
        "unnamed": missing.unnamed,
        "nodes": [
            {"name": name, "how": group.how, "sure": group.is_sure}
            for group in missing.groups
            for name in group.names
        ],
    }


def _listed_json(report: Report, node: Node) -> dict[str, Any]:
    """With how long ago it was heard, where that is known."""
    silent_s = report.view.silence_s.get(key_of(node))
    heard = {} if silent_s is None else {"heard_ago_s": round(silent_s, 3)}
    return _node_json(node) | heard | _past_json(report, node)


def _past_json(report: Report, node: Node) -> dict[str, Any]:
    """Since when it stands where it does, and why; nothing where that is not known."""
    past = report.history.get(key_of(node))
    if past is None:
        return {}
    return {"since": _time(past.time_s), "event": past.what, "why": past.why or None}


def _node_json(node: Node) -> dict[str, Any]:
    return {"addr": node.addr, "pid": node.pid, "local_id": node.local_id}


def event_as_json(event: RunEvent) -> dict[str, Any]:
    """An object with all that is known of it; times in seconds."""
    return {
        "number": event.number,
        "time": _time(event.time_s),
        "monotonic_s": event.monotonic_s,
        "kind": event.kind,
        "round": event.round,
        "nodes": event.nodes,
        "took_s": event.took_s,
        "node": None if event.node is None else _node_json(event.node),
        "text": event.text,
    }


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).astimezone().isoformat(timespec="milliseconds")
