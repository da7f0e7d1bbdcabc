"""docs/performance.md and README's picture: their figures are those of bench/RESULTS.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import picture  # noqa: E402

PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8")
# Cells of its tables, without what was measured in one of several runs.
FIGURES = {
    figure
    for cell in re.findall(r"[^|\n]+(?=\|)", RESULTS)
    for figure in re.findall(r"\d[\d,.]*", cell.partition("(")[0])
}


def _told() -> list[str]:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "---" not in line]
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")[1:]]
    prose = re.findall(r"(\d[\d,.]*\d) (?:s|bytes)\b", PAGE)
    return sorted({*filter(re.compile(r"[\d,.]+").fullmatch, cells), *prose} - {"60", "0.42"})


@pytest.mark.parametrize("figure", _told())
def test_a_figure_of_the_page_was_measured(figure: str) -> None:
    """As RESULTS.md has it."""
    assert figure in FIGURES


def test_the_page_says_how_many_promises_hold() -> None:
    """With those that do not."""
    (holds,) = re.findall(r"^(\d+ of \d+) measured promises hold", RESULTS, re.MULTILINE)
    assert f"{holds}\nmeasured promises hold".replace("\n", " ") in " ".join(PAGE.split())


@pytest.mark.parametrize("kind", picture.FILES)
def test_the_picture_is_of_the_results(kind: str) -> None:
    """`python bench/picture.py` draws it again."""
    drawn = picture.draw(picture.read(RESULTS), kind)
    assert (ROOT / picture.FILES[kind]).read_text(encoding="utf-8") == drawn


def test_what_stands_for_the_picture_says_the_same() -> None:
    """For those who do not see it."""
    figures = picture.read(RESULTS)
    last = figures.ours[-1]
    assert figures.ended is not None
    for page in ("README.md", "docs/index.md", "docs/performance.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"{last.nodes:,} nodes meet in {last.seconds:.2g} s" in text
        assert f"{figures.ended[0]} nodes have not met after {figures.ended[1]:g} s" in text
