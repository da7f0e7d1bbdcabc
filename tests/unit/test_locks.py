"""No lock of the Python part is held while somebody else is waited for, unless one who waits for
the lock has a time limit.

What may take long is told by the names of what is called: a client, a connection, a log whose
handler writes, a thread's end. Methods that call such a method are found as well. A lock that is
held meanwhile is taken by acquire(timeout=...), not by `with`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rendezvous"
LOCKS = {"Lock", "RLock", "Condition"}
SLOW = {
    *("_client", "_connection", "_connections", "_backend", "_store", "_transport", "_line"),
    *("_log", "_sock", "_process", "_leader", "_term", "sleep", "join", "result", "recv", "send"),
}


def names_in(node: ast.AST) -> set[str]:
    """What of `self` and of its own module a piece of code calls, or calls something of."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            found |= {part.attr for part in ast.walk(each.func) if isinstance(part, ast.Attribute)}
            found |= {part.id for part in ast.walk(each.func) if isinstance(part, ast.Name)}
    return found


def locks_of(cls: ast.ClassDef) -> set[str]:
    assigned = [node for node in ast.walk(cls) if isinstance(node, ast.Assign)]
    return {
        target.attr
        for node in assigned
        if names_in(node.value) & LOCKS
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }


def slow_methods_of(cls: ast.ClassDef) -> set[str]:
    called = {
        each.name: names_in(each)
        for each in cls.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    slow = set(SLOW)
    for _ in called:
        slow |= {name for name, names in called.items() if names & slow}
    return slow


def held_across_something_slow(cls: ast.ClassDef) -> Iterator[str]:
    locks, slow = locks_of(cls), slow_methods_of(cls)
    for node in ast.walk(cls):
        if not isinstance(node, ast.With | ast.AsyncWith):
            continue
        for item in node.items:
            held = item.context_expr
            if isinstance(held, ast.Attribute) and held.attr in locks:
                called = {name for statement in node.body for name in names_in(statement)}
                yield from (f"{cls.name}.{held.attr}: {name}" for name in sorted(called & slow))


def classes() -> list[ast.ClassDef]:
    texts = [path.read_text() for path in sorted(PACKAGE.rglob("*.py"))]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    return [node for node in nodes if isinstance(node, ast.ClassDef)]


def test_what_is_slow_is_found() -> None:
    """Also through a method of the same class; not where the lock is taken with a time limit."""
    cls = ast.parse("""
class Whole:
    def __init__(self):
        self._lock = threading.RLock()
        self._other = Thing()
    def ask(self):
        return self._client.get()
    def bad(self):
        with self._lock:
            self.ask()
    def fine(self):
        with self._lock:
            self.count()
        with self.holding(5):
            self.ask()
        with self._other:
            self.ask()
    def count(self):
        self._count += 1
""").body[0]
    assert isinstance(cls, ast.ClassDef)
    assert list(held_across_something_slow(cls)) == ["Whole._lock: ask"]


def test_no_lock_is_held_across_what_may_take_long() -> None:
    """A thread that waits for the lock would wait for as long, whatever its own deadline."""
    assert sum(bool(locks_of(cls)) for cls in classes()) >= 5
    assert [each for cls in classes() for each in held_across_something_slow(cls)] == []


def test_locks_are_taken_by_with_of_c() -> None:
    """A signal's handler may raise in any function of Python's. `Condition.__enter__` is one, and
    `Event.set` calls it: the lock would be held for good. `with` enters a lock of C at once.
    """
    unsafe = {"threading.Event", "threading.Condition()"}
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Call) and ast.unparse(node) in unsafe:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
        conditions = {
            target.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and "Condition" in names_in(node.value)
            for target in node.targets
            if isinstance(target, ast.Attribute)
        }
        found += [
            f"{path}:{node.lineno}: with {ast.unparse(item)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.With)
            for item in node.items
            if isinstance(item.context_expr, ast.Attribute) and item.context_expr.attr in conditions
        ]
    assert found == []
