"""Colours and widths of what the command prints: for terminals only. Pure but for looking at it.

Colours follow https://no-color.org: none into pipes, with NO_COLOR, or on a dumb terminal.
"""

from __future__ import annotations

import os
import shutil
from typing import TextIO

__all__ = ["Paint", "wrapped"]

_COLUMNS = 80
_COLUMNS_MIN = 20


class Paint:
    """For one stream.

    Attributes:
        is_terminal: whether somebody reads it as it is written.
        columns: how wide the terminal is; None: lines are not wrapped.
    """

    def __init__(self, stream: TextIO) -> None:
        self.is_terminal = stream.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._has_colours = self.is_terminal and not plain

    @property
    def columns(self) -> int | None:
        """Asked each time: windows change."""
        if not self.is_terminal:
            return None
        return max(_COLUMNS_MIN, shutil.get_terminal_size((_COLUMNS, 24)).columns)

    @property
    def rows(self) -> int:
        """How many lines it shows."""
        return max(5, shutil.get_terminal_size((_COLUMNS, 24)).lines)

    def bold(self, text: str) -> str:
        return self._code("1", text)

    def dim(self, text: str) -> str:
        return self._code("2", text)

    def red(self, text: str) -> str:
        return self._code("1;31", text)

    def green(self, text: str) -> str:
        return self._code("32", text)

    def yellow(self, text: str) -> str:
        return self._code("33", text)

    def _code(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colours else text


def wrapped(line: str, columns: int | None) -> list[str]:
    """The line as lines of a terminal; what goes on is indented a little more than it begins."""
    if columns is None or len(line) < columns:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    # Folded names have commas and no blanks.
    breakable = line.replace(",", ",\u200b")
    lines: list[str] = []
    rest = breakable
    while rest:
        room = columns - 1
        if len(rest.replace("\u200b", "")) <= room:
            lines.append(rest)
            break
        at, width, best = 0, 0, 0
        while at < len(rest) and width <= room:
            if rest[at] in " \u200b" and rest[:at].strip():
                best = at
            width += rest[at] != "\u200b"
            at += 1
        best = best or at - 1
        lines.append(rest[:best].rstrip())
        rest = indent + rest[best:].lstrip(" \u200b")
    return [each.replace("\u200b", "") for each in lines]
