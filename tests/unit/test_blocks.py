"""Every code block of README.md and the pages is run by a test, or says why it is not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.pages import ROOT, Block, all_blocks, pages

from rendezvous.cli.main import parse

BLOCKS = all_blocks()
RUN_OPTIONS = {"server", "etcd", "torch", "nodes", "until"}
# The shell's own words around a command of ours.
_COMMAND = re.compile(r"(?:^|[\s(\"`])rendezvous (?!\.)([^|&;>)#\n]+)")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_says_what_it_is(block: Block) -> None:
    """support/pages.py has the words for it."""
    assert block.mode, f"{block}: say what it is: the head of tests/support/pages.py has the words"
    if block.mode == "run":
        assert block.language in {"sh", "python"}
        assert set(block.options) <= RUN_OPTIONS
    elif block.mode == "tested by":
        (path,) = (ROOT / "tests").rglob(block.detail)
        assert Path(block.page).name in path.read_text()
    elif block.mode in {"fragment", "not run"}:
        assert len(block.detail.split()) > 1, f"{block}: say why"
    else:
        assert block.language in {"text", "console"}, f"{block}: what is printed has no language"


def _commands(block: Block) -> list[str]:
    text = block.text.replace("\\\n", " ")
    return [found.strip() for found in _COMMAND.findall(text)]


SHOWN = [block for block in BLOCKS if block.language == "sh" and block.mode != "run"]


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_command_that_is_not_run_is_one(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options are there; what a launcher would say is said."""
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "h:1")
    for command in _commands(block):
        words = [word for word in shlex.split(command, comments=True) if word != "..."]
        if words == ["--version"]:
            continue
        if words[0] == "exec" and not any(word.startswith("--standalone") for word in words):
            extra = [] if "--endpoint" in command else ["--endpoint", "h:1"]
            words[1:1] = extra + ([] if re.search(r"--n?nodes", command) else ["--nodes", "2"])
        parse(["h:1" if word in {"E", "URL"} else word for word in words])


def test_blocks_are_found() -> None:
    """On the front page, and of each kind."""
    assert "README.md" in pages()
    assert "docs/cli.md" in pages()
    assert {block.mode for block in BLOCKS} == {
        "run",
        "tested by",
        "output",
        "fragment",
        "not run",
    }
