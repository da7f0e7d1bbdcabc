"""docs/when-a-job-hangs.md: its commands exist, and what it says that we say, we say."""

from __future__ import annotations

import re
import shlex
from functools import cache

import pytest
from support.words import ROOT, texts

from rendezvous.cli.main import parse

PAGE = (ROOT / "docs" / "when-a-job-hangs.md").read_text()
COMMAND = re.compile(r"rendezvous (?:status|doctor|keys|watch|timeline|bench|close)\b[^`\n#]*")
# What is said by a list of kinds, a name, or by the server.
KNOWN_PARTS = {"", "server", "port", "name", "token", "limits", "sizes", "run", "failed"}


def _commands() -> list[str]:
    found = {match.strip() for match in COMMAND.findall(PAGE)}
    return sorted(each for each in found if len(each.split()) > 2)


@pytest.mark.parametrize("command", _commands())
def test_each_command_of_the_page_is_one(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """With the options that it is shown with."""
    monkeypatch.delenv("RENDEZVOUS_ENDPOINT", raising=False)
    words = shlex.split(command)[1:]
    words = [re.sub(r"^\$MASTER_ADDR:\$MASTER_PORT$", "h:1", word) for word in words]
    parse(["h:1" if word in {"E", "URL"} else word for word in words])


@cache
def _messages() -> list[str]:
    return [text.text for text in texts()]


def _said() -> list[str]:
    """What the page quotes in the first column of its tables."""
    cells = re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    plain = [cell for cell in cells if cell.startswith("its ")]
    return quoted + plain


@pytest.mark.parametrize("said", _said())
def test_what_the_page_quotes_is_what_we_say(said: str) -> None:
    """Of each part between the dots, the words stand in a message."""
    messages = _messages()
    for part in re.split(r"\.\.\.|; |: |, by ", said):
        words = part.strip(" :'")
        if words not in KNOWN_PARTS:
            known = any(words in message.replace("{}", "s are") for message in messages)
            assert known or words.startswith("whose name"), words


def test_the_page_quotes_something() -> None:
    """Of status, of doctor and of the server."""
    assert len(_said()) > 15
    assert len(_commands()) > 6
