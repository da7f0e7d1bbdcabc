"""The parser of the command: argparse's, which says what may be meant by a misspelled word."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Parser", "suggestion"]

_SIMILARITY = 0.6
_CHOICE = re.compile(r"invalid choice: \x27([^\x27]*)\x27 \(choose from (.*)\)$", re.DOTALL)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; is --nodes meant?`, or nothing."""
    found = get_close_matches(word, list(known), 1, _SIMILARITY)
    return f"; is {found[0]} meant?" if found else ""


class Parser(argparse.ArgumentParser):
    """One command's, or that of all of them."""

    def error(self, message: str) -> NoReturn:
        """Show the usage and the message, with what may be meant, and exit with code 2."""
        if (match := _CHOICE.search(message)) is not None:
            known = re.findall(r"[\w-]+", match[2])
            message = f"{message[: match.start()]}no such choice: {match[1]!r}"
            message += suggestion(match[1], known) or f"; choose from {', '.join(known)}"
        super().error(message)

    def known_options(self) -> list[str]:
        """All that begin with --."""
        return [name for name in self._option_string_actions if name.startswith("--")]
