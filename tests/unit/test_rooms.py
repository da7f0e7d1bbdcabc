"""The rooms of the Python package: who imports whom. This picture is held to, in both directions.

A room is a folder or a module at the top of rendezvous/. Imports within functions count as well,
those that only type checkers see do not, but for the package's face, whose names are found by name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "rendezvous"

# Each room, and the rooms that it imports. Below all is `_core`, the compiled part.
ROOMS: dict[str, set[str]] = {
    "_base": set(),
    "_stores": {"_base"},
    "_coordination": {"_base"},
    "backends": {"_base", "_stores", "_coordination"},
    "_node": {"_base", "_stores", "_coordination"},
    "handler": {"_base", "_coordination", "_node", "backends"},
    "aio": {"_base", "_stores", "_coordination", "_node", "backends"},
    "torch": {"_base", "_stores"},
    "_torchrun": {"_base", "_stores", "backends", "handler", "torch"},
    "monitor": {"_base", "_coordination", "backends", "handler"},
    "cli": {"_base", "_stores", "aio", "backends", "handler", "monitor"},
    # Names for users; nothing of ours imports from them.
    "__init__": {"_base", "_stores", "backends", "handler"},
    "__main__": {"cli"},
    "api": {"_base"},
    "errors": {"_base"},
    "registry": {"handler"},
    "static": {"backends"},
    "torchrun": {"_torchrun"},
}
ARROWS_MAX = 45

# Likewise of the back-end over etcd. Its other modules see all of them.
ETCD_ROOMS: dict[str, set[str]] = {
    "transport": set(),
    "client": {"transport"},
    "store": {"transport", "client"},
    "run": {"transport", "client"},
    "server": {"client"},
}


def modules(top: Path) -> dict[str, list[Path]]:
    """The files of each room."""
    found: dict[str, list[Path]] = {}
    for path in sorted(top.rglob("*.py")):
        room = path.relative_to(top).with_suffix("").parts[0]
        found.setdefault(room, []).append(path)
    return found


def nodes_that_run(tree: ast.AST, is_face: bool) -> Iterator[ast.AST]:
    """All nodes, but those that are there for type checkers."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_face or not is_for_types:
            yield from nodes_that_run(node, is_face)


def imports(path: Path) -> Iterator[str]:
    """What of ours a file imports, anywhere: dotted names without the package's."""
    is_face = path == PACKAGE / "__init__.py"
    for node in nodes_that_run(ast.parse(path.read_text()), is_face):
        if isinstance(node, ast.ImportFrom) and node.module == "rendezvous":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rendezvous."):
            yield str(node.module).removeprefix("rendezvous.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "rendezvous":
                    yield alias.name.partition(".")[2] or "__init__"


def imported_rooms(room: str) -> set[str]:
    rooms = {name.split(".")[0] for path in modules(PACKAGE)[room] for name in imports(path)}
    return rooms - {room, "_core"}


@pytest.mark.parametrize("room", sorted(modules(PACKAGE)))
def test_a_room_imports_what_is_drawn(room: str) -> None:
    assert imported_rooms(room) == ROOMS[room]


def test_the_picture_is_small_and_runs_one_way() -> None:
    """Static_order raises where rooms import each other in a circle."""
    assert len(list(TopologicalSorter(ROOMS).static_order())) == len(ROOMS)
    assert sum(len(rooms) for rooms in ROOMS.values()) < ARROWS_MAX


@pytest.mark.parametrize("room", sorted(ETCD_ROOMS))
def test_a_room_of_etcds_imports_what_is_drawn(room: str) -> None:
    prefix = "backends.etcd."
    found = {
        name.removeprefix(prefix).split(".")[0]
        for path in modules(PACKAGE / "backends" / "etcd")[room]
        for name in imports(path)
        if name.startswith(prefix)
    }
    assert found - {room} == ETCD_ROOMS[room]


@pytest.mark.parametrize("room", sorted(modules(PACKAGE)))
def test_names_come_from_where_they_are_defined(room: str) -> None:
    """Not from the package's face, whose names are found by name at run time."""
    faces = {"__init__", "api", "errors", "registry", "static", "torchrun"}
    if room not in faces:
        assert imported_rooms(room) & faces == set()


def test_only_its_package_knows_the_parts_of_the_etcd_transport() -> None:
    """Who uses it sees its interface, where a member is, and what its failures are."""
    shared = {"endpoints", "errors"}
    inner = re.compile(r"backends\.etcd\.transport\.(\w+)")
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "transport":
            parts = {match[1] for name in imports(path) if (match := inner.match(name))}
            assert parts <= shared, path.name
