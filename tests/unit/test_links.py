"""The check of the site's links finds what it is for: tasks/links.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Last, as the sources of the package are there, too.
sys.path.append(str(ROOT))

from tasks import links  # noqa: E402

REPOSITORY = f"{links.REPOSITORY}/blob/main"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<a href="b.html#there">', None),
        ('<a href="b.html">', None),
        ('<a href="c.html">', "no such page"),
        ('<a href="b.html#nowhere">', "no such anchor"),
        ('<a href="#nowhere">', "no such anchor"),
        ('<a href="https://example.org/">', None),
        (f'<a href="{REPOSITORY}/README.md#tests">', None),
        (f'<a href="{REPOSITORY}/README.md#nowhere">', "no such heading"),
        (f'<a href="{REPOSITORY}/nothing.md">', "no such file"),
        ('<script src="https://example.org/a.js"></script>', "has to come with the site"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "has to come with the site"),
        ("<style>@import url(https://example.org/a.css)</style>", "has to come with the site"),
        ('<img src="picture.svg">', "no such file"),
    ],
)
def test_a_link_of_a_page(tmp_path: Path, text: str, problem: str | None) -> None:
    """Relative, into the repository, to another host; and what a browser loads."""
    (tmp_path / "a.html").write_text(text)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    found = list(links.site_problems(tmp_path))
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_a_folder_without_pages_is_a_problem(tmp_path: Path) -> None:
    """Nothing was looked at."""
    assert list(links.site_problems(tmp_path))


def test_a_relative_link_of_the_readme_is_a_problem(tmp_path: Path) -> None:
    """The package index has no file beside it; its own headings it has."""
    readme = tmp_path / "README.md"
    readme.write_text("# Tests\n[a](docs/cli.md) [b](#tests) [c]\n\n[c]: docs/api.md\n")
    assert [each.split(": ")[1] for each in links.readme_problems(readme)] == [
        "docs/cli.md",
        "docs/api.md",
    ]


def test_the_readme_has_no_such_link() -> None:
    """As it is."""
    assert list(links.readme_problems()) == []
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100
