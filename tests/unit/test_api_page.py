"""The API reference has everything that is public, and everything in it has a docstring.

The pages of docs/reference list classes and functions. Sphinx makes the rest, of docstrings and
stubs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import rendezvous

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md"))
)
NAMED = set(re.findall(r"^\.\. auto(?:class|function|data|exception):: (\S+)$", PAGES, re.M))
WHOLE = set(re.findall(r"^\.\. automodule:: (\S+)$", PAGES, re.M))
STUB = ast.parse((ROOT / "rendezvous" / "_core.pyi").read_text(encoding="utf-8"))
# PrefixStore's class in Python defines all that Store has, and is listed by what it adds.
CLASSES = ("Store", "HashStore", "FileStore", "PrefixStore", "TCPStore", "Server")
MODULES = sorted({"rendezvous", *WHOLE})


def _public() -> list[tuple[str, str]]:
    return [(name, each) for name in MODULES for each in importlib.import_module(name).__all__]


@pytest.mark.parametrize(("module", "name"), _public())
def test_a_public_name_is_in_the_reference(module: str, name: str) -> None:
    """By its own directive, or with its module; errors are those of rendezvous.errors."""
    known = f"{module}.{name}" in NAMED or module in WHOLE
    assert known or name in importlib.import_module("rendezvous.errors").__all__


@pytest.mark.parametrize(("module", "name"), _public())
def test_what_the_reference_shows_has_a_docstring(module: str, name: str) -> None:
    """Classes, functions, and the methods and properties of classes."""
    thing = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    assert (thing.__doc__ or "").strip()
    members = vars(thing) if inspect.isclass(thing) else {}
    for each, found in members.items():
        if not each.startswith("_") and (inspect.isroutine(found) or isinstance(found, property)):
            assert inspect.getdoc(getattr(thing, each)), each


def test_the_reference_names_nothing_that_is_not_there() -> None:
    """Each directive's name can be imported."""
    for name in sorted(NAMED):
        module, _, attribute = name.rpartition(".")
        if module != "rendezvous.torch":
            assert hasattr(importlib.import_module(module), attribute), name


def test_the_stub_lists_what_the_classes_have() -> None:
    """The reference takes signatures from it."""
    listed: dict[str, set[str]] = {
        node.name: {
            each.name
            for each in node.body
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
        }
        for node in STUB.body
        if isinstance(node, ast.ClassDef)
    }
    for name in CLASSES:
        public = {each for each in vars(getattr(rendezvous, name)) if not each.startswith("_")}
        if name == "PrefixStore":
            public -= set(vars(rendezvous.Store))
        assert public == listed[name]
