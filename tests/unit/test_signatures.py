"""What help() and editors show of the compiled classes: arguments, defaults, and text."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rendezvous
from rendezvous import _core

# Of the sources: the stub is what type checkers see.
STUB = ast.parse(Path(rendezvous.__file__).with_name("_core.pyi").read_text())


def stub_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Dotted name and definition of each function and method, but for properties."""
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and not member.decorator_list:
                    yield f"{node.name}.{member.name}", member


def arguments_of(definition: ast.FunctionDef) -> list[tuple[str, Any, Any]]:
    """Name, kind and default."""
    found = definition.args
    empty = inspect.Parameter.empty
    positional = [*found.posonlyargs, *found.args]
    defaults = [empty] * (len(positional) - len(found.defaults)) + [
        ast.literal_eval(each) for each in found.defaults
    ]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    listed: list[tuple[str, Any, Any]] = [
        (each.arg, kind, value) for each, value in zip(positional, defaults, strict=True)
    ]
    for argument, default in zip(found.kwonlyargs, found.kw_defaults, strict=True):
        value = empty if default is None else ast.literal_eval(default)
        listed.append((argument.arg, inspect.Parameter.KEYWORD_ONLY, value))
    return listed


def look_up(name: str) -> Any:
    found: Any = _core
    for part in name.split("."):
        found = getattr(found, part)
    return found


FUNCTIONS = {
    name: node for name, node in stub_functions() if not name.rpartition(".")[2].startswith("__")
}
CLASSES = {
    name.partition(".")[0]: node for name, node in stub_functions() if name.endswith(".__init__")
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signature_of_a_compiled_function_is_that_of_its_stub(name: str) -> None:
    """Names, order, kinds and defaults."""
    shown = inspect.signature(look_up(name)).parameters.values()
    assert [(each.name, each.kind, each.default) for each in shown] == arguments_of(FUNCTIONS[name])


@pytest.mark.parametrize("name", CLASSES)
def test_the_signature_of_a_compiled_class_is_that_of_its_constructor(name: str) -> None:
    """Without self."""
    shown = inspect.signature(look_up(name)).parameters.values()
    expected = arguments_of(CLASSES[name])[1:]
    assert [(each.name, each.kind, each.default) for each in shown] == expected


def test_help_shows_arguments_types_and_text() -> None:
    """Of a class and of its methods."""
    text = pydoc.plain(pydoc.render_doc(rendezvous.TCPStore))
    # Newer Pythons give each argument a line.
    squeezed = re.sub(r"[\s|]+", "", text)
    assert "TCPStore(host_name,port,world_size=None,is_master=False,timeout=None" in squeezed
    assert "A store on a server, shared by all its clients." in text
    assert "get(self,key,timeout=None)" in squeezed
    assert "->bytes" in squeezed
    assert not any(line.strip(" |") == "--" for line in text.splitlines())


def test_the_text_of_a_method_says_what_it_does() -> None:
    """Of every operation; those of stores in Python are documented by the compiled ones."""
    for name, member in vars(rendezvous.Store).items():
        if not name.startswith("_"):
            assert member.__doc__, name
            assert not member.__doc__.startswith("--"), name
