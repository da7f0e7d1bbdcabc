"""How `rendezvous status` tells of a run: as lines of text, and as one line. Pure."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rendezvous._base.host_names import count_names, fold_hosts, natural_key
from rendezvous._base.text import counted, node_text
from rendezvous.cli.paint import wrapped
from rendezvous.handler.examine import LOST, is_complete, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rendezvous._coordination.run_view import RunView
    from rendezvous._core import Node
    from rendezvous.cli.paint import Paint
    from rendezvous.handler.examine import Past, Report

__all__ = ["as_line", "as_text", "outline"]

# Nodes of one list that have a line each without --all.
_LINES_MAX = 16
_LISTS = ("waiting", "spares", "lost", "asking")
# A node is silent that was not heard for so many of its keep-alive intervals: one may be late.
_SILENT_INTERVALS = 1.5


def outline(view: RunView) -> str:
    """The round, in half a line."""
    if view.complete:
        return f"round {view.round}: complete, with {counted(view.world_size, 'rank')}"
    text = f"round {view.round}: forming"
    if view.settings is not None:
        text += f", {view.counts.participants} of at least {view.settings.min_nodes} nodes"
    return text


def as_line(report: Report) -> str:
    """All that matters, in one line."""
    view = report.view
    parts = [f"run {report.run_id!r} {outline(view)}"]
    if view.closed:
        parts.append(f"closed{f' ({view.close_reason})' if view.close_reason else ''}")
    if not is_complete(view) and report.missing:
        parts.append(report.missing.text())
    for name in _LISTS:
        nodes: Sequence[Node] = getattr(view, name)
        if nodes and not (name == "lost" and not view.complete):
            parts.append(f"{name}: {count_names(node.addr for node in nodes)}")
    if silent := _silent(view):
        parts.append(f"silent: {count_names(node.addr for _, node in silent)}")
    return "; ".join(parts)


def as_text(report: Report, paint: Paint, *, all_nodes: bool = False) -> list[str]:
    """Lines for people: what is wrong comes first."""
    view = report.view
    colour = paint.green if is_complete(view) else paint.yellow
    lines = [
        f"run {report.run_id!r} at {report.endpoint}, kept by {_keeper_text(view)}",
        (outline(view), colour),
    ]
    lines += _missing_lines(report, paint)
    if view.last_call_left_s is not None:
        at_most = "" if view.kept_by == "server" else "at most "
        lines.append(f"last call: {at_most}{view.last_call_left_s:.1f} s left")
    reason = f", the reason: {view.close_reason}" if view.close_reason else ""
    if view.failed:
        lines.append((f"failed for good, do not restart it{reason}", paint.red))
    elif view.closed:
        lines.append((f"closed: no more nodes can join{reason}", paint.red))
    if view.finished_round:
        lines.append(f"finished: round {view.finished_round} was the last to succeed")
    if view.cause:
        lines.append((f"failed first: {view.cause}", paint.red))
    if view.suspects:
        lines.append(f"connection lost, may come back: {view.suspects}")
    lines += [(line, paint.yellow) for line in _silent_lines(view, all_nodes)]
    lines += [(f"does not take part: {text}", paint.red) for text in report.excluded]
    settings = view.settings
    if settings is not None:
        lines.append(
            f"settings: {settings.min_nodes} to {settings.max_nodes} nodes, "
            f"last call {settings.last_call_timeout:g} s, "
            f"keep-alive every {settings.keep_alive_interval:g} s, "
            f"lost after {settings.keep_alive_max_attempt} missed"
        )
    lines += _joined_line(report)
    lines += _participants(view, all_nodes)
    for name in _LISTS:
        count: int = getattr(view.counts, name)
        if count:
            nodes = sorted(getattr(view, name), key=_node_key)
            each = [_listed_text(view, node, all_nodes) for node in nodes]
            if name == "lost":
                each = [
                    f"{text}{_past_text(report.history.get(key_of(node)))}"
                    for text, node in zip(each, nodes, strict=True)
                ]
            text = _list_text(name, each, nodes, all_nodes)
            lines += [(text[0], paint.red), *text[1:]] if name == "lost" else text
    return [
        colour(part)
        for line, colour in (each if isinstance(each, tuple) else (each, str) for each in lines)
        for part in wrapped(line, paint.columns)
    ]


def _missing_lines(report: Report, paint: Paint) -> list[Any]:
    view, missing = report.view, report.missing
    if is_complete(view):
        if not view.counts.lost:
            return []
        return ["what to do: see the logs of the lost nodes, and of their machines"]
    similar = [
        f"the run {name!r} is there, too: is one of the names misspelled?"
        for name in report.similar
    ]
    if not missing:
        return similar
    lines: list[Any] = [(f"missing: {missing.count}", paint.red)]
    for group in missing.groups:
        how = group.how if group.is_sure else f"likely, {group.how}"
        if group.how == LOST and len(group.names) <= _LINES_MAX:
            lines += [f"  {name}: {how}{_lost_text(report, name)}" for name in group.names]
        else:
            lines += [f"  {name}: {how}" for name in fold_hosts(group.names)]
    if missing.unnamed:
        more = "more " if missing.groups else ""
        unknown = f"{more}whose name{' is' if missing.unnamed == 1 else 's are'}"
        lines.append(
            f"  {missing.unnamed} {unknown} not known; --expect NAMES, here or of exec, tells"
        )
    lines += similar
    lines.append(f"what to do: {_advice(report)}")
    return lines


def _lost_text(report: Report, name: str) -> str:
    """When and why; of several nodes of that name, of the last one."""
    pasts = [past for key, past in report.history.items() if key[0] == name]
    return _past_text(max(pasts, key=lambda past: past.time_s, default=None))


def _past_text(past: Past | None) -> str:
    if past is None:
        return ""
    ago_s = max(0.0, time.time() - past.time_s)
    why = f": {past.why}" if past.why else ""
    return f" at {_clock(past.time_s)}, {_ago(ago_s)} ago{why}"


def _clock(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _silent_lines(view: RunView, all_nodes: bool) -> list[str]:
    silent = _silent(view)
    each = [f"{node_text(node)}: heard {_ago(silent_s)} ago" for silent_s, node in silent]
    return _list_text("silent", each, [node for _, node in silent], all_nodes) if each else []


def _silent(view: RunView) -> list[tuple[float, Node]]:
    """Who is listed, and counts as lost soon if nothing comes from there; the longest first."""
    if view.settings is None:
        return []
    late_s = _SILENT_INTERVALS * view.settings.keep_alive_interval
    listed = (*view.participants, *view.waiting, *view.spares)
    heard = [(view.silence_s.get(key_of(node), 0.0), node) for node in listed]
    silent = [(silent_s, node) for silent_s, node in heard if silent_s >= late_s]
    return sorted(silent, key=lambda pair: (-pair[0], _node_key(pair[1])))


def _listed_text(view: RunView, node: Node, all_nodes: bool) -> str:
    silent_s = view.silence_s.get(key_of(node)) if all_nodes else None
    return node_text(node) + ("" if silent_s is None else f", heard {_ago(silent_s)} ago")


def _joined_line(report: Report) -> list[str]:
    """When the first and the last of those who take part came."""
    found = []
    for node in report.view.participants:
        past = report.history.get(key_of(node))
        if past is not None and past.what == "joined":
            found.append((past.time_s, node.addr))
    if not found:
        return []
    (first_s, first), (last_s, last) = min(found), max(found)
    if len(found) == 1:
        return [f"joined: {_clock(first_s)}"]
    return [f"joined: from {_clock(first_s)} ({first}) to {_clock(last_s)} ({last})"]


def _advice(report: Report) -> str:
    if report.view.closed:
        return "the run is closed; give a new job another --run-id, on all nodes"
    hows = {group.how for group in report.missing.groups}
    if LOST in hows:
        return "see the logs of the lost nodes, and of their machines; start the job there again"
    if any(how.startswith("connected") for how in hows):
        return (
            "see the logs of the missing nodes: they reached the server and did not join this run"
        )
    return (
        "check that the job has started on the missing nodes; there, run "
        f"rendezvous doctor --endpoint {report.endpoint} --run-id {shlex.quote(report.run_id)}"
    )


def _keeper_text(view: RunView) -> str:
    if view.kept_by == "server":
        return "the server"
    if view.kept_by == "store":
        return "its nodes, by compare-and-set"
    if view.leader is None:
        return "an elected node; none is elected at the moment"
    return f"{node_text(view.leader)}, the elected leader"


def _participants(view: RunView, all_nodes: bool) -> list[str]:
    pairs = list(zip(view.ranks, view.participants, strict=True))
    if not view.complete:
        pairs.sort(key=lambda pair: _node_key(pair[1]))
    ranked = [
        (f"rank {rank}  " if rank >= 0 else "") + _listed_text(view, node, all_nodes)
        for rank, node in pairs
    ]
    nodes = [node for _, node in pairs]
    lines = _list_text("participants", ranked, nodes, all_nodes)
    if len(nodes) > _LINES_MAX and not all_nodes and view.ranks and view.ranks[0] == 0:
        lines.append(f"  rank 0 is {node_text(nodes[0])}")
    return lines


def _list_text(name: str, each: Sequence[str], nodes: Sequence[Node], all_nodes: bool) -> list[str]:
    """A line each, or the hosts, folded, where they are many."""
    text = [f"{name}: {len(nodes)}"]
    if all_nodes or len(nodes) <= _LINES_MAX:
        return [*text, *(f"  {line}" for line in each)]
    by_count: dict[int, list[str]] = {}
    for host, count in Counter(node.addr for node in nodes).items():
        by_count.setdefault(count, []).append(host)
    for count, hosts in sorted(by_count.items()):
        more = f": {count} nodes{' each' if len(hosts) > 1 else ''}" if count > 1 else ""
        text += [f"  {folded}{more}" for folded in fold_hosts(hosts)]
    return text


def _node_key(node: Node) -> tuple[object, ...]:
    return natural_key(node.addr), node.pid, node.local_id
