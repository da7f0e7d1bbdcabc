"""docs/api.md names everything that is public, with its signature."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import rendezvous

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
STUB = ast.parse((ROOT / "rendezvous" / "_core.pyi").read_text())
# PrefixStore's class in Python defines all that Store has, and is listed by what it adds.
CLASSES = ("Store", "HashStore", "FileStore", "PrefixStore", "TCPStore", "Server")


def argument_list(function: ast.FunctionDef) -> str:
    """`key, timeout=None`: without self and types."""
    arguments = function.args
    arguments.args = arguments.args[1:]
    for argument in (*arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    return ast.unparse(arguments)


def members() -> list[tuple[str, str]]:
    """(class, how the page writes the member) of every public one."""
    found = []
    for node in STUB.body:
        if not isinstance(node, ast.ClassDef) or node.name not in CLASSES:
            continue
        for each in node.body:
            if not isinstance(each, ast.FunctionDef):
                continue
            if each.name == "__init__":
                if node.name != "Store":
                    found.append((node.name, f"{node.name}({argument_list(each)})"))
            elif any(isinstance(d, ast.Name) and d.id == "property" for d in each.decorator_list):
                found.append((node.name, each.name))
            elif not each.name.startswith("_"):
                found.append((node.name, f"{each.name}({argument_list(each)})"))
    return found


@pytest.mark.parametrize(("owner", "text"), members(), ids=str)
def test_every_member_of_a_store_is_on_the_page(owner: str, text: str) -> None:
    """With the names and defaults that the stub gives its arguments."""
    assert f"`{text}`" in PAGE


def test_the_stub_lists_what_the_classes_have() -> None:
    """So that the page, which is held to the stub, is held to the code."""
    for name in CLASSES:
        public = {each for each in vars(getattr(rendezvous, name)) if not each.startswith("_")}
        if name == "PrefixStore":
            public -= set(vars(rendezvous.Store))
        listed = {text.partition("(")[0] for owner, text in members() if owner == name}
        assert public == {each for each in listed - {name} if not each.startswith("_")}


@pytest.mark.parametrize("name", rendezvous.__all__)
def test_every_public_name_is_on_the_page(name: str) -> None:
    """As code, as a heading, or as a call."""
    assert f"`{name}`" in PAGE or f"`{name}(" in PAGE or f"# {name}\n" in PAGE


@pytest.mark.parametrize("name", ["get_rendezvous_handler", "open_store"])
def test_functions_are_on_the_page_with_their_arguments(name: str) -> None:
    """By their names."""
    arguments = ", ".join(inspect.signature(getattr(rendezvous, name)).parameters)
    assert f"`{name}({arguments})`" in PAGE


def test_the_page_has_no_method_that_is_not_there() -> None:
    """Rows of the table of methods are methods of Store."""
    table = PAGE.partition("| method |")[2].partition("\n\n")[0]
    rows = [line.split("`")[1].partition("(")[0] for line in table.splitlines()[2:]]
    assert len(rows) > 20
    assert [row for row in rows if not hasattr(rendezvous.Store, row)] == []
