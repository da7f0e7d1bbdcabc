"""What `rendezvous doctor` has found: one line each, with what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rendezvous.cli.paint import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rendezvous.cli.paint import Paint

__all__ = ["Finding", "as_json", "as_text"]

# All is well; worth to know; wrong, and the place can be reached; wrong, and it cannot.
State: TypeAlias = Literal["ok", "note", "wrong", "unreachable"]


@dataclass(frozen=True)
class Finding:
    """Of one check.

    Attributes:
        check: its name, one word.
        todo: what to do; empty: nothing.
        facts: of `--json`, beside the text.
    """

    check: str
    state: State
    text: str
    todo: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return self.state in {"wrong", "unreachable"}


def as_text(finding: Finding, paint: Paint) -> list[str]:
    """Its line, as wide as the terminal."""
    colour = {"ok": paint.green, "note": paint.yellow}.get(finding.state, paint.red)
    mark = "FAIL" if finding.is_bad else finding.state
    todo = f". What to do: {finding.todo}" if finding.todo else ""
    line = f"{mark:<5}{finding.check + ':':<12}{finding.text}{todo}"
    first, *rest = wrapped(line, paint.columns)
    return [colour(first[:4]) + first[4:], *rest]


def as_json(endpoint: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """All of them."""
    return {
        "endpoint": endpoint,
        "ok": not any(finding.is_bad for finding in findings),
        "findings": [
            {
                "check": finding.check,
                "state": finding.state,
                "text": finding.text,
                "todo": finding.todo or None,
            }
            | finding.facts
            for finding in findings
        ],
    }
