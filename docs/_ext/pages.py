"""Links that lead out of docs/, and pages that are files of other folders.

On GitHub a page links to the files of the repository beside it. On the site these links lead to the
repository, or to the page that shows the file. A page that is a line `<!-- page: ../FILE -->` and
what readers on GitHub see shows that file, so that nothing is written twice.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
REPOSITORY = "https://github.com/rendezvous-store/rendezvous"
_SHOWN = re.compile(r"^<!-- page: (\S+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?P<head>\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?P<tail>\))")
_REFERENCE = re.compile(
    r"^(?P<head>\[[^\]]+\]: )(?P<target>[^\s#]+)(?P<anchor>#\S*)?(?P<tail>)$", re.MULTILINE
)
# A block of code, or code in a line: neither has links.
_CODE = re.compile(
    r"^( *)(```+|~~~+).*?^\1\2 *$|(`+)(?!`).+?(?<!`)\3(?!`)", re.MULTILINE | re.DOTALL
)

_logger = logging.getLogger(__name__)


def shown_files() -> dict[Path, Path]:
    """Which page shows a file of another folder."""
    return {
        (page.parent / found[1]).resolve(): page
        for page in sorted(DOCS.glob("*.md"))
        if (found := _SHOWN.search(page.read_text(encoding="utf-8")))
    }


def link_from(page: Path, file: Path, target: str, problems: list[str]) -> str:
    """`target`, which the text of `file` has, as `page` of the site has it."""
    if re.match(r"[a-z]+:", target):
        path = target.removeprefix(f"{REPOSITORY}/blob/main/")
        if path == target:
            return target
        found = ROOT / path
    else:
        found = (file.parent / target).resolve()
    if not found.exists():
        problems.append(target)
        return target
    found = shown_files().get(found, found)
    picture = found.suffix in {".svg", ".png"}
    if picture or (found.is_relative_to(DOCS) and found.suffix == ".md"):
        return os.path.relpath(found, page.parent)
    kind = "tree" if found.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{found.relative_to(ROOT)}"


def text_of(page: Path) -> tuple[str, list[str]]:
    """What the site shows as this page, and the links of it that lead to nothing."""
    file = page
    text = page.read_text(encoding="utf-8")
    if shown := _SHOWN.search(text):
        file = (page.parent / shown[1]).resolve()
        text = file.read_text(encoding="utf-8")
    problems: list[str] = []

    def relinked(found: re.Match[str]) -> str:
        target = link_from(page, file, found["target"], problems)
        return f"{found['head']}{target}{found['anchor'] or ''}{found['tail']}"

    parts = []
    end = 0
    for code in [*_CODE.finditer(text), None]:
        prose = text[end : code.start() if code else len(text)]
        parts.append(_REFERENCE.sub(relinked, _LINK.sub(relinked, prose)))
        if code:
            parts.append(code.group())
            end = code.end()
    return "".join(parts), problems


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    source[0], problems = text_of(path)
    for each in problems:
        _logger.warning("no such file: %s", each, location=docname)
    if shown := _SHOWN.search(path.read_text(encoding="utf-8")):
        app.env.note_dependency(path.parent / shown[1])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
