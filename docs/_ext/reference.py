"""The API reference: docstrings as they stand in the code, with the signatures of the stubs.

Docstrings are read in an editor first. They are plain text with `code` in single backticks,
indented programs, and lines `name: what it is` for arguments. Here they become what Sphinx reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import rendezvous
import rendezvous.aio

_ARGUMENT = re.compile(r"^(?P<names>[\w\"*][\w\", *:/]*?): (?P<text>.*)$")
_SECTION = re.compile(r"^(?P<kind>Args|Attributes)(?P<more>, .*)?:$")
_ENDS_ARGUMENTS = re.compile(r"Raises?\b|ValueError\b|The \b")
_ERROR = re.compile(r"(?<![\w.`])[A-Z]\w+Error(?!\w)")
_PAGE = re.compile(r"\bdocs/([\w-]+)\.md")
_PLACE = re.compile(
    r"(?<![\w.\"'])(?:~?rendezvous(?P<aio>\.aio)?(?:\.\w+)*\.)?(?P<name>[A-Z]\w+)\b"
)


@cache
def _tree(stub: str) -> ast.Module:
    path = Path(rendezvous.__file__).parent / f"{stub}.pyi"
    return ast.parse(path.read_text(encoding="utf-8"))


class _Spelled(ast.NodeTransformer):
    """A stub's private names for types, written out; stores by the names that users know."""

    def __init__(self, tree: ast.Module) -> None:
        self._aliases = {
            node.target.id: node.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.value is not None
        }
        self._aliases["_Store"] = ast.parse("~rendezvous.Store", mode="eval").body
        if not any(name in self._aliases for name in ("_Text", "_Value")):
            # Imported, under the names of those of the core.
            core = _Spelled(_tree("_core"))._aliases
            self._aliases |= {name[1:]: core[name] for name in ("_Text", "_Value", "_Timeout")}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        alias = self._aliases.get(node.id)
        if alias is None:
            return node
        spelled: ast.AST = self.visit(ast.parse(ast.unparse(alias), mode="eval").body)
        return spelled

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "_Call":
            node.value = ast.Name("Awaitable")
        return self.generic_visit(node)


def stub_signature(stub: str, owner: str, name: str) -> tuple[str, str] | None:
    """Arguments and result of a class' method; `__init__` is the class itself."""
    tree = _tree(stub)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for base in (owner, "Store") if owner in classes else ():
        for node in classes[base].body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                spelled = _Spelled(tree).visit(ast.parse(ast.unparse(node)).body[0])
                spelled.args.args = spelled.args.args[1:]
                result = ast.unparse(spelled.returns) if spelled.returns else ""
                return f"({ast.unparse(spelled.args)})", "" if name == "__init__" else result
    return None


def signature(*event: Any) -> tuple[str, str] | None:
    """For autodoc-process-signature: arguments and result, or None to leave them."""
    _app, what, name, thing, _options, args, result = event
    owner, _, method = name.rpartition(".")
    is_aio = name.startswith("rendezvous.aio.")
    if what == "class":
        if getattr(thing, "__module__", "") == "rendezvous._core":
            return stub_signature("_core", thing.__name__, "__init__") or ("", "")
        if "Made by" in (thing.__doc__ or ""):
            return "", ""
    elif what == "method":
        stub = {"rendezvous": "_core", "rendezvous.aio": "aio/_operations"}
        module, _, owner = owner.rpartition(".")
        found = stub_signature(stub[module], owner, method) if module in stub else None
        if found:
            return _public(found[0], is_aio), _public(found[1], is_aio)
    if what not in {"class", "exception", "function", "method"} or not (args or result):
        return None
    return _public(args or "", is_aio), _public(result or "", is_aio)


def _public(text: str, is_aio: bool) -> str:
    """Classes by the names that users know them by."""

    def named(found: re.Match[str]) -> str:
        aio = found["aio"] or (is_aio and "." not in found[0])
        module = rendezvous.aio if aio else rendezvous
        if found["name"] not in module.__all__:
            return found[0]
        return f"~{module.__name__}.{found['name']}"

    text = _PLACE.sub(named, text).replace("=<factory>", " = {}")
    return re.sub(r"\bdatetime\.(?=timedelta)|~typing\.(?=Any)|\b_(?=Self\b)", "", text)


def docstring(*event: Any) -> None:
    """For autodoc-process-docstring: changes the lines."""
    lines: list[str] = event[-1]
    lines[:] = marked_up(lines)


def marked_up(lines: list[str]) -> list[str]:
    """As reStructuredText."""
    done: list[str] = []
    in_program = in_argument = False
    for line in _level_sections(_marked_code(lines)):
        indent = len(line) - len(line.lstrip())
        begins = line.strip() and indent >= 4 and not (done and done[-1].strip())
        if begins and not in_program:
            done += ["::", ""]
            in_program = True
        elif in_program and line.strip() and indent < 4:
            in_program = False
        found = None if in_program else _ARGUMENT.match(line)
        if found and _names(found["names"]):
            if not in_argument:
                done.append("")
            done.append(f"* ``{found['names']}``: {found['text']}")
            in_argument = True
        elif in_argument and line.strip() and not _ENDS_ARGUMENTS.match(line):
            done.append(f"  {line.strip()}")
        else:
            if in_argument:
                done.append("")
            in_argument = False
            done.append(line)
    return done


def _level_sections(lines: list[str]) -> Iterator[str]:
    """Their lines are `name: what it is`, too, as those of a compiled class' arguments."""
    is_inside = False
    for line in lines:
        head = _SECTION.match(line)
        if head:
            is_inside = True
            kind = head["kind"].replace("Args", "Arguments")
            yield f"**{kind}**{head['more'] or ''}:"
            continue
        is_inside = is_inside and (not line.strip() or line.startswith("    "))
        yield line.removeprefix("    ") if is_inside else line


def _names(text: str) -> bool:
    return all(re.fullmatch(r"\*{0,2}[a-z_]\w*", each.strip()) for each in text.split(","))


def _marked_code(lines: list[str]) -> list[str]:
    """Code in single backticks, which may go on in the next line; a star or a bar is itself."""
    parts = re.split(r"(``[^`]+``|`[^`]+`)", "\n".join(lines))
    for i, part in enumerate(parts):
        if part.startswith("``"):
            pass
        elif part.startswith("`"):
            # A letter right behind it, as in a plural, has to be told apart.
            joined = re.match(r"\w", (*parts, "", "")[i + 1])
            parts[i] = f"`{part}`" + ("\\ " if joined else "")
        else:
            text = re.sub(r"(?<=\S)\*|\*(?=[\w*])|\|", r"\\\g<0>", part)
            parts[i] = _PAGE.sub(r":doc:`/\g<1>`", _ERROR.sub(_linked_error, text))
    return "".join(parts).split("\n")


def _linked_error(found: re.Match[str]) -> str:
    name = found[0]
    known = name in rendezvous.errors.__all__
    return f":exc:`~rendezvous.errors.{name}`" if known else name


def setup(app: Sphinx) -> dict[str, Any]:
    # What is imported at its first use is an attribute from then on.
    for name in rendezvous.__all__:
        getattr(rendezvous, name)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
