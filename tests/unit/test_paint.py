"""Lines of the command on a terminal: as wide as it is, in colours where they are wanted."""

from __future__ import annotations

import io
import random

import pytest

from rendezvous.cli.paint import Paint, wrapped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [20, 33, 80])
def test_what_is_wrapped_is_the_same_text_in_short_lines(columns: int) -> None:
    """Broken at blanks and after commas; words that are longer are cut."""
    chance = random.Random(columns)
    for _ in range(200):
        line = "  " + "".join(chance.choice("abc, -[]0") for _ in range(chance.randrange(300)))
        parts = wrapped(line, columns)
        assert all(len(part) < columns for part in parts)
        assert "".join("".join(parts).split()) == "".join(line.split())


def test_a_pipe_gets_whole_lines() -> None:
    """However long."""
    paint = Paint(io.StringIO())
    assert paint.columns is None
    assert wrapped("a " * 200, paint.columns) == ["a " * 200]


@pytest.mark.parametrize(
    ("name", "value", "has_colours"),
    [
        ("NO_COLOR", "1", False),
        ("NO_COLOR", "", True),
        ("TERM", "dumb", False),
        ("TERM", "x", True),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, has_colours: bool
) -> None:
    """As no-color.org says."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    assert (Paint(Terminal()).red("x") != "x") is has_colours
    assert Paint(io.StringIO()).red("x") == "x"
