"""As test_class_sizes.py, of the Python part: no class is made of too many others.

Counted are the attributes of a class whose values are objects of ours: those that its body or an
assignment to `self` annotates with a class of ours (of rendezvous/, or of the compiled part), those
that a call of such a class makes, and those that an argument with such a type is kept as. An
attribute counts once, also if it holds many; one whose type nobody says there does not count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rendezvous"
PARTS_MAX = 10


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]


def names_of_ours() -> set[str]:
    core = ast.parse((PACKAGE / "_core.pyi").read_text())
    nodes = [node for tree in [*trees(), core] for node in ast.walk(tree)]
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def is_ours(kind: ast.AST | None, ours: set[str]) -> bool:
    """Whether an annotation names one of ours, within whatever else."""
    return kind is not None and not ours.isdisjoint(re.findall(r"\w+", ast.unparse(kind)))


def makes_ours(
    value: ast.AST | None, arguments: Mapping[str, ast.AST | None], ours: set[str]
) -> bool:
    if isinstance(value, ast.Call):
        return is_ours(value.func, ours)
    return isinstance(value, ast.Name) and is_ours(arguments.get(value.id), ours)


def parts_of(cls: ast.ClassDef, ours: set[str]) -> set[str]:
    """The names of those attributes."""
    found = set()
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign) and is_ours(statement.annotation, ours):
            found.add(ast.unparse(statement.target))
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        given = statement.args
        arguments = {
            each.arg: each.annotation
            for each in [*given.posonlyargs, *given.args, *given.kwonlyargs]
        }
        for node in ast.walk(statement):
            for target, kind, value in assigned(node):
                if is_ours(kind, ours) or makes_ours(value, arguments, ours):
                    found.add(target)
    return found


def assigned(node: ast.AST) -> Iterator[tuple[str, ast.AST | None, ast.AST | None]]:
    """Attributes of self that a statement assigns: name, annotation, value."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    for target in targets:
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            kind = node.annotation if isinstance(node, ast.AnnAssign) else None
            yield target.attr, kind, getattr(node, "value", None)


def test_attributes_are_counted() -> None:
    """By what makes them, what they are said to be, and what they are given as; each once."""
    code = """
class Whole:
    declared: "list[Part]"
    number: int
    def __init__(self, given: Part | None, count: int, *, many: dict[str, Part]):
        self.given = given
        self.many = many
        self.count = count
        self.made = Part(1)
        self.of_a_factory = core.Part.of(2)
        self.told: Part | None = None
        self.other = other()
    def later(self):
        self.made = self.late = Part(3)
        local = Part(4)
"""
    cls = ast.parse(code).body[0]
    assert isinstance(cls, ast.ClassDef)
    assert parts_of(cls, {"Part", "Whole"}) == {
        "declared",
        "given",
        "many",
        "made",
        "of_a_factory",
        "told",
        "late",
    }


def test_no_class_has_more_than_ten_parts_of_ours() -> None:
    """A class with more than ten objects of ours as members is several classes."""
    ours = names_of_ours()
    classes = [
        node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) > 150
    parts = {cls.name: sorted(parts_of(cls, ours)) for cls in classes}
    assert {name: held for name, held in parts.items() if len(held) > PARTS_MAX} == {}
