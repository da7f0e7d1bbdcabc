"""All that a server of this process knows of its runs, as lines: for `serve`, on SIGQUIT. Pure."""

from __future__ import annotations

from typing import Any

from rendezvous.cli.look.timeline_text import as_line
from rendezvous.handler.examine import events_of

__all__ = ["as_lines", "run_name"]


def as_lines(report: dict[str, Any]) -> list[str]:
    """Of `Server.report()`: name spaces, and of each run how it stands and what has happened."""
    now_s = report["monotonic_s"]
    lines = [f"connections: {report['connections']}"]
    for name, numbers in report["spaces"].items():
        counts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in numbers.items())
        lines.append(f"name space {name}: {counts}")
    for run in report["runs"]:
        lines.append(_run_line(run))
        lines += [f"  {as_line(event)}" for event in events_of(run["events"], now_s)]
    if report["warnings"]:
        lines.append("warnings:")
        lines += [f"  {as_line(event)}" for event in events_of(report["warnings"], now_s)]
    return lines


def run_name(run: dict[str, Any]) -> str:
    """`run 'job-1'`, with its name space where that is not the default one."""
    where = "" if run["space"] == "default" else f" of name space {run['space']}"
    return f"run {run['run_id']!r}{where}"


def _run_line(run: dict[str, Any]) -> str:
    if run["closed"]:
        state = "closed"
    elif run["failed"]:
        state = "failed: too few nodes are left"
    elif run["complete"]:
        state = f"complete, with {run['participants']} nodes"
    else:
        state = f"forming, {run['participants']} of at least {run['min_nodes']} nodes"
    more = "".join(f", {name}: {run[name]}" for name in ("waiting", "spares", "lost") if run[name])
    return f"{run_name(run)}: round {run['round']}, {state}{more}"
