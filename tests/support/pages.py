"""The code blocks of README.md and the pages, and what each says of itself.

The line that opens a block has its language and what is done with it, in this order:

    ```sh run                          it is run (test_pages.py), by a shell or by Python, in a
                                       folder of its own
    ```sh run: server, nodes=2         the same: a server at node0:29400, in two processes at once
    ```python run: server, until=done  the same, and Ctrl-C when it has printed `done`
    ```sh run: etcd, or run: torch     the same, where there is one
    ```python tested by test_x.py      that test runs it; it names the page
    ```text output                     what a program prints, or a picture
    ```toml fragment: why              not a whole program or file, and why
    ```sh not run: why                 a whole one that no test can run, and why

Readers of GitHub and of the site see none of it. It must not have a backtick.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODES = ("run", "tested by", "output", "fragment", "not run")
# Sphinx' own; not a block that anybody runs.
_DIRECTIVE = re.compile(r"\{[\w-]+\}")
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^\n]*)$")
_INFO = re.compile(rf"(?P<language>\w+) (?P<mode>{'|'.join(MODES)})(?:(?:: | )(?P<detail>[^`]+))?")


@dataclass(frozen=True)
class Block:
    """One, at `line` of `page`; mode "" where it does not say what it is."""

    page: str
    line: int
    language: str
    mode: str
    detail: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def options(self) -> dict[str, str]:
        """Those of a `run`; `until` is the last, and may have commas."""
        head, _, until = self.detail.partition("until=")
        words = [word.strip() for word in head.split(",") if word.strip()]
        found = {name: value for name, _, value in (word.partition("=") for word in words)}
        return found | ({"until": until} if until else {})


def pages() -> list[str]:
    """Relative to the repository."""
    paths = [*(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md", *ROOT.glob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """In their order."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    found = []
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            i += 1
            continue
        end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == fence["ticks"])
        info = fence["info"].strip()
        if not _DIRECTIVE.fullmatch(info):
            said = _INFO.fullmatch(info)
            text = "".join(f"{line.removeprefix(fence['indent'])}\n" for line in lines[i + 1 : end])
            words = (said["language"], said["mode"], said["detail"] or "") if said else ("",) * 3
            found.append(Block(page, i + 1, *words, text))
        i = end + 1
    return tuple(found)


def all_blocks() -> list[Block]:
    """Of all pages."""
    return [block for page in pages() for block in blocks(page)]
