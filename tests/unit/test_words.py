"""The English of errors, log lines, help and docs: turns of phrase that need a second read."""

import re

import pytest
from support.words import FOLDERS, ROOT, Text, texts

# Each with what to write in its place.
UNWANTED = {
    r"(?<![Tt]here )(?<!answer )\b(?:is|are|was) no (?!longer\b|more\b|such\b)(?=\w)": "is not a",
    r"\bwhat is no(?:ne|t)?\b|\bwhich is no\b|\bthat is none\b": "not a ...",
    r"\bno \w+ of (?:ours|its own)\b": "not one of ...",
    r"\b[Ww]hoever\b|\b(?:of|by|for|from) who\b": "the one that",
    r"\bwhat nobody\b|\bnobody(?:'s| is| knows| needs)\b|\banybody's\b": "no node, no client",
    r"\bfor ever\b": "for good, without limit, never",
    r"\b(?:anew|afresh)\b": "again",
    r"\bdeletes? it again and again\b|\bvanish(?:es)? again and again\b": "keeps ...ing",
    r"\bso many\b": "this many",
    r"\bin vain\b|\bits kin\b": "without success, subclasses",
    r"\bget through\b": "arrive",
    r"\btakes? no more\b(?! data)|\btaken any more\b": "is full, no more ... can join",
    r"\bend its users\b|\bof the file's users has\b": "stop the processes that use it",
    r"\blook at (?:which|the log|rank)|\blook why\b|\blooks? whether\b": "check",
    r"\bmake (?:a new|another|its own)\b|\bmade by process\b": "create",
    r"\bcould not be (?:asked|told)\b": "cannot reach, cannot tell",
    r"\bnot come to\b|\bhave come\b": "arrived",
}


def _unwanted(text: str) -> list[str]:
    words = " ".join(text.split())
    return [
        f"{found.group()!r}; rather: {instead}"
        for pattern, instead in UNWANTED.items()
        for found in re.finditer(pattern, words)
    ]


def test_messages_use_plain_words() -> None:
    """Errors, log lines and help, of C++ and Python."""
    found = [
        f"{text}: {problem}"
        for text in texts(FOLDERS)
        if not text.is_docstring
        for problem in _unwanted(text.text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_pages_use_plain_words(page: str) -> None:
    """What users read of the repository."""
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    assert not _unwanted(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "is_unwanted"),
    [
        ("the port 'http' is no number", True),
        ("the port 'http' is not a number", False),
        ("there is no leader", False),
        ("the node is no longer listed", False),
        ("a key without one stays for ever", True),
        ("end its users and remove the file", True),
    ],
)
def test_the_list_finds_what_it_is_for(text: str, is_unwanted: bool) -> None:
    """And nothing that is good English."""
    assert bool(_unwanted(text)) is is_unwanted


def test_the_texts_of_both_languages_are_found() -> None:
    """As one text each, however the sources break them, with {} for values."""
    all_texts = {text.text for text in texts()}
    assert "{} is closed; create another view of the store" in all_texts
    assert any(text.endswith(" does not exist; create it first") for text in all_texts)
    assert isinstance(next(texts()), Text)
