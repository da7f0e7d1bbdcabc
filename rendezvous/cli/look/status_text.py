"""How `rendezvous status` tells of a run: as lines of text, and as JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rendezvous._core import Node
    from rendezvous.cli.look.run_report import RunReport

__all__ = ["as_json", "as_text"]


def as_text(report: RunReport, endpoint: str) -> list[str]:
    """Lines for people."""
    lines = [
        f"run {report.run_id!r} at {endpoint}, kept by {_keeper_text(report)}",
        _round_text(report),
    ]
    if report.last_call_left_s is not None:
        at_most = "" if report.kept_by == "server" else "at most "
        lines.append(f"last call: {at_most}{report.last_call_left_s:.1f} s left")
    if report.closed:
        lines.append("closed: no more nodes can join")
    if report.finished_round:
        lines.append(f"finished: round {report.finished_round} was the last to succeed")
    settings = report.settings
    if settings is not None:
        lines.append(
            f"settings: {settings.min_nodes} to {settings.max_nodes} nodes, "
            f"last call {settings.last_call_timeout:g} s, "
            f"keep-alive every {settings.keep_alive_interval:g} s, "
            f"lost after {settings.keep_alive_max_attempt} missed"
        )
    ranked = [
        (f"rank {rank}  " if rank >= 0 else "") + _node_text(node)
        for rank, node in report.participants
    ]
    lines += _list_text("participants", ranked, report.counts["participants"])
    for name, nodes in (
        ("waiting", report.waiting),
        ("spares", report.spares),
        ("lost", report.lost),
        ("asking", report.asking),
    ):
        if report.counts.get(name):
            lines += _list_text(name, [_node_text(node) for node in nodes], report.counts[name])
    return lines


def _keeper_text(report: RunReport) -> str:
    if report.kept_by == "server":
        return "the server"
    if report.kept_by == "store":
        return "its nodes, by compare-and-set"
    if report.leader is None:
        return "an elected node; none is elected at the moment"
    return f"{_node_text(report.leader)}, the elected leader"


def _round_text(report: RunReport) -> str:
    if report.complete:
        return f"round {report.round}: complete, with {report.world_size} ranks"
    text = f"round {report.round}: forming"
    if report.settings is not None:
        text += f", {report.counts['participants']} of at least {report.settings.min_nodes} nodes"
    return text


def _list_text(name: str, lines: list[str], count: int) -> list[str]:
    text = [f"{name}: {count}", *(f"  {line}" for line in lines)]
    more = count - len(lines)
    if more > 0:
        text.append(f"  and {more} more; --all names them")
    return text


def _node_text(node: Node) -> str:
    return f"{node.addr} (pid {node.pid})"


def as_json(report: RunReport) -> dict[str, Any]:
    """An object with all nodes."""
    settings = report.settings
    return {
        "run_id": report.run_id,
        "kept_by": report.kept_by,
        "leader": None if report.leader is None else _node_json(report.leader),
        "round": report.round,
        "complete": report.complete,
        "closed": report.closed,
        "finished_round": report.finished_round,
        "world_size": report.world_size,
        "last_call_left_s": report.last_call_left_s,
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
            for rank, node in report.participants
        ],
        "waiting": [_node_json(node) for node in report.waiting],
        "spares": [_node_json(node) for node in report.spares],
        "lost": [_node_json(node) for node in report.lost],
        "asking": [_node_json(node) for node in report.asking],
    }


def _node_json(node: Node) -> dict[str, Any]:
    return {"addr": node.addr, "pid": node.pid, "local_id": node.local_id}
