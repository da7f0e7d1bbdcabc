"""docs/limits.md: its tables say what is in the code, and name tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rendezvous import _core

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "limits.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def constant(file: str, name: str) -> int:
    text = (ROOT / "csrc" / file).read_text()
    found = re.search(rf"\b{name}\s*=\s*([0-9' *]+);", text)
    assert found, f"{name} is not in {file}"
    value = 1
    for factor in found[1].replace("'", "").split("*"):
        value *= int(factor)
    return value


def test_every_limit_is_on_the_page_with_its_default() -> None:
    """In the order in which the server lists them."""
    listed = {row[0].strip("`"): int(row[1]) for row in rows("What can be set")}
    assert listed == _core.server_limits()
    assert list(listed) == list(_core.server_limits())


@pytest.mark.parametrize("row", rows("What can be set"), ids=lambda row: row[0])
def test_every_limit_has_a_test(row: list[str]) -> None:
    """Which sets it."""
    file, _, function = row[3].strip("`").partition("::")
    text = (ROOT / "tests" / "integration" / file).read_text()
    body = text.partition(f"def {function}(")[2].partition("\ndef test_")[0]
    assert body, f"{function} is not in {file}"
    assert f'"{row[0].strip("`")}"' in body


FIXED = {
    "a key": ("wire/limits.h", "kKeyBytesMax"),
    "a value, or an item of a queue": ("wire/limits.h", "kValueBytesMax"),
    "keys in one request, ranks in one exchange": ("wire/limits.h", "kKeysPerRequestMax"),
    "a request, and an answer of the native protocol": ("wire/limits.h", "kRequestBytesMax"),
    "channels of one connection of the native protocol": (
        "wire/limits.h",
        "kChannelsPerConnectionMax",
    ),
    "requests of one channel that wait for its turn; one may be larger": (
        "wire/limits.h",
        "kChannelInputBytesMax",
    ),
    "name space and client name in HELLO, text of an error answer": (
        "wire/limits.h",
        "kTextBytesMax",
    ),
    "a run id": ("wire/limits.h", "kRunIdBytesMax"),
    "a node's address": ("group/limits.h", "kNodeAddrBytesMax"),
    "nodes of a run, spares included": ("group/limits.h", "kGroupNodesMax"),
    "lost nodes that are named": ("group/limits.h", "kLostNodesMax"),
    "nodes in one answer to MEMBERS": ("wire/limits.h", "kMembersPerReplyMax"),
    "departed nodes that are remembered for a followed run": (
        "wire/limits.h",
        "kDeparturesKept",
    ),
    "prefixes of one name space whose changes are remembered": (
        "store/prefix_feeds.h",
        "kPrefixesMax",
    ),
    "remembered prefixes of one key": ("store/prefix_feeds.h", "kDepthMax"),
    "remembered changes of one prefix": ("store/prefix_feeds.h", "kBytesOfOneMax"),
    "remembered changes of all prefixes of one name space": (
        "store/prefix_feeds.h",
        "kBytesOfAllMax",
    ),
    "names in an error: keys, ranks": ("base/error.h", "kMissingMax"),
    "cached answers to requests for the same list of keys, together": (
        "wire/limits.h",
        "kComposedBytesMax",
    ),
}


def test_what_is_fixed_is_on_the_page() -> None:
    """With the numbers of the headers."""
    listed = {row[0]: int(row[1].split()[0]) for row in rows("What follows from the format")}
    assert listed == {what: constant(*where) for what, where in FIXED.items()}
