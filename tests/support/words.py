"""Every text that users read, as the sources have it: for a test, and for reading them all.

`python tests/support/words.py [FOLDER...]` prints the list: errors, log lines, help and other
strings of more than one word, with `{}` for values. `--docstrings` adds docstrings. Imports nothing
of the package; it reads files.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("csrc", "rendezvous")

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"\((?P<raw>.*?)\)"|"(?P<text>(?:[^"\\\n]|\\.)*)"|\'(?:[^\'\\\n]|\\.)\'',
    re.DOTALL,
)
_COMMENT = re.compile(r"#[^\n]*|\"{3}.*?\"{3}", re.DOTALL)  # and docstrings, of Cython
_INCLUDE = re.compile(r"^\s*#include[^\n]*", re.MULTILINE)


@dataclass(frozen=True)
class Text:
    """One text, and where it begins."""

    path: str
    line: int
    text: str
    is_docstring: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}"


def texts(folders: tuple[str, ...] = FOLDERS) -> Iterator[Text]:
    """All of the folders' texts, in the order of their files and lines."""
    for folder in folders:
        root = ROOT / folder
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".py":
                yield from _python(name, path.read_text(encoding="utf-8"))
            elif path.suffix in {".cc", ".h"}:
                yield from _cpp(name, path.read_text(encoding="utf-8"))
            elif path.suffix in {".pyx", ".pxi"}:
                yield from _cython(name, path.read_text(encoding="utf-8"))


def is_worded(text: str) -> bool:
    """Whether it has more than one word."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1 and " " in text.strip()


def _cpp(name: str, source: str) -> Iterator[Text]:
    source = _INCLUDE.sub(lambda found: " " * len(found.group()), source)
    parts: list[str] = []  # of the text that grows
    begin, end = 0, -1

    def found() -> Iterator[Text]:
        text = "".join(parts)
        if is_worded(text):
            yield Text(name, source.count("\n", 0, begin) + 1, text)

    for token in _TOKEN.finditer(source):
        part = token.group("raw") if token.group("raw") is not None else token.group("text")
        if part is None:
            continue
        gap = re.sub(r"//[^\n]*", "", source[end : token.start()]).strip() if parts else ";"
        is_joined = gap[:1] in {"+", "<"} and gap[-1:] in {"+", "<"} and ";" not in gap
        if parts and not gap:
            parts.append(part)
        elif parts and is_joined:
            parts += ["{}", part]
        else:
            yield from found()
            begin, parts = token.start(), [part]
        end = token.end()
    yield from found()


def _cython(name: str, source: str) -> Iterator[Text]:
    blank = _COMMENT.sub(lambda found: "\n" * found.group().count("\n"), source)
    for text in _cpp(name, blank):
        yield Text(name, text.line, re.sub(r"{[^}]*}", "{}", text.text))


def _python(name: str, source: str) -> Iterator[Text]:
    for node, is_docstring in _strings(ast.parse(source)):
        text = _of(node)
        if text is not None and is_worded(text):
            yield Text(name, node.lineno, text, is_docstring)


def _strings(tree: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.expr) and _of(child) is not None:
            yield child, False
        elif (
            isinstance(child, ast.Expr)
            and isinstance(tree, (*documented, ast.ClassDef))
            and isinstance(child.value, ast.Constant)
        ):
            yield child.value, True
        else:
            yield from _strings(child)


def _of(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_of(value) or "{}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _of(node.left), _of(node.right)
        return None if left is None and right is None else (left or "{}") + (right or "{}")
    return None


def main() -> None:
    """Print the list."""
    arguments = [each for each in sys.argv[1:] if not each.startswith("-")]
    for text in texts(tuple(arguments) or FOLDERS):
        if not text.is_docstring or "--docstrings" in sys.argv:
            print(text)


if __name__ == "__main__":
    main()
