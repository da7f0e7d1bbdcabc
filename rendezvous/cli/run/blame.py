"""How a process of the command failed, for the log and for the other nodes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rendezvous.cli import exits as _exit
from rendezvous.cli.run.output import last_lines

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Failure"]

_SHOWN_LINES = 10


@dataclass(frozen=True)
class Failure:
    """The first process of this node that failed.

    Attributes:
        code: its exit code, 128 + n after signal n.
        rank: of all processes.
        words: what it wrote last to stderr; None: that is not known.
        path: the file with all that it wrote; None: there is none.
        is_one_of_many: whether others of this node may have written after it.
    """

    code: int
    rank: int
    words: bytes | None = None
    path: Path | None = None
    is_one_of_many: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the process asks by its exit code not to be started again."""
        return self.code == _exit.DO_NOT_RESTART

    def __str__(self) -> str:
        """With the exit code, as the beginning of a sentence."""
        who = f"rank {self.rank}" if self.is_one_of_many else "the command"
        return f"{who} failed (exit code {self.code})"

    def report(self) -> str:
        """What it said last, if that is not the last that anybody could read; else empty."""
        lines = last_lines(self.words or b"", _SHOWN_LINES)
        if not self.is_one_of_many and self.path is None:
            return ""
        where = "" if self.path is None else f" in {self.path}"
        if not lines:
            return f"{self}; its output is{where}" if where else f"{self}"
        shown = "".join(f"\n    {line.decode(errors='replace')}" for line in lines)
        return f"{self}; its last lines{where}:{shown}"

    def event_text(self) -> str:
        """In one line, with its last."""
        line = self.last_line().decode(errors="replace") or f"rank {self.rank}"
        return f"exit code {self.code}, {line}"

    def last_line(self) -> bytes:
        """With the rank, for other nodes; empty where it is not known."""
        if self.words is None:
            return b""
        lines = last_lines(self.words, 1) or [b"(it wrote nothing to stderr)"]
        return b"rank %d: %b" % (self.rank, lines[0].strip())
