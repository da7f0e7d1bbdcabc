"""Checks the built site: links and anchors lead somewhere, and nothing comes from other hosts.

    python tasks/links.py FOLDER

README.md is looked at as the package index shows it: rendered from its text, beside no other file.
Links into the repository and its pages are checked in the sources. Other hosts are not asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/rendezvous-store/rendezvous"
RAW = "https://raw.githubusercontent.com/rendezvous-store/rendezvous/main/"
# What a browser gets by itself; a link is followed by whom it pleases.
_LOADED = {("script", "src"), ("img", "src"), ("source", "srcset"), ("iframe", "src")}
_LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "manifest"}
_STYLE = re.compile(r"(?:@import|\burl\()\s*[\"']?((?:https?:)?//[^\"')]+)")
_FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


class _Page(HTMLParser):
    """Anchors and links of a page, and what a browser loads with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.loaded += _STYLE.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and _LOADED_LINKS & set(found.get("rel", "").split()):
            self.loaded.append(found["href"])
        self.loaded += [value for name, value in found.items() if (tag, name) in _LOADED]


def anchor_of(heading: str) -> str:
    """The one that GitHub gives a heading."""
    text = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors_of(path: Path) -> set[str]:
    """Of a file in Markdown."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {anchor_of(each) for each in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def repository_problem(target: str) -> str | None:
    """Of a link into the repository."""
    found = re.match(rf"(?:{REPOSITORY}/(?:blob|tree|edit|raw)/main|{RAW[:-1]})/(.*)", target)
    if found is None:
        return None
    place = urlsplit(found[1])
    path = ROOT / unquote(place.path)
    if not path.exists():
        return "no such file"
    if place.fragment and path.suffix == ".md" and place.fragment not in anchors_of(path):
        return "no such heading"
    return None


def link_problem(path: Path, target: str, pages: dict[Path, _Page]) -> str | None:
    """Of a link in a page."""
    place = urlsplit(target)
    if place.scheme or place.netloc:
        return repository_problem(target)
    other = (path.parent / unquote(place.path)).resolve() if place.path else path
    other = other / "index.html" if other.is_dir() else other
    if not other.exists():
        return "no such page"
    if place.fragment and other in pages and unquote(place.fragment) not in pages[other].anchors:
        return "no such anchor"
    return None


def loading_problem(path: Path, target: str) -> str | None:
    """Of what a browser loads with a page."""
    place = urlsplit(target)
    if place.scheme in {"http", "https"} or place.netloc:
        return "it has to come with the site"
    there = place.scheme or (path.parent / unquote(place.path)).exists()
    return None if there else "no such file"


def site_problems(folder: Path) -> Iterator[str]:
    """One line for each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    if not pages:
        yield f"{folder} has no pages"
    loaded = [(path, target) for path, page in sorted(pages.items()) for target in page.loaded]
    loaded += [
        (sheet, target)
        for sheet in sorted(folder.rglob("*.css"))
        for target in _STYLE.findall(sheet.read_text(encoding="utf-8"))
    ]
    for path, target in loaded:
        if problem := loading_problem(path, target):
            yield f"{path.relative_to(folder)}: loads {target}: {problem}"
    for path, page in sorted(pages.items()):
        for target in page.links:
            if problem := link_problem(path, target, pages):
                yield f"{path.relative_to(folder)}: {target}: {problem}"


def readme_problems(path: Path = ROOT / "README.md") -> Iterator[str]:
    """The package index shows it alone: a relative link leads nowhere there."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    targets += re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
    for target in targets:
        place = urlsplit(target)
        problem = repository_problem(target)
        if not place.scheme:
            own = place.path == "" and place.fragment in anchors_of(path)
            problem = None if own else "relative, which leads nowhere on the package index"
        if problem:
            yield f"README.md: {target}: {problem}"


def main() -> None:
    problems = [*site_problems(Path(sys.argv[1]).resolve()), *readme_problems()]
    if problems:
        sys.exit("\n".join([*problems, f"{len(problems)} links lead nowhere"]))


if __name__ == "__main__":
    main()
