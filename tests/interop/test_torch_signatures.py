"""What torch's stores take by keyword, and in which order, ours take too."""

from __future__ import annotations

import re
from typing import Any

import pytest

import rendezvous

dist: Any = pytest.importorskip("torch.distributed", reason="needs torch")

CLASSES = ("Store", "HashStore", "FileStore", "PrefixStore", "TCPStore")


def arguments(function: Any) -> list[str]:
    """The names of a compiled function's arguments, by its docstring; arg0 for one without."""
    signature = str(function.__doc__).splitlines()[0].partition("(self")[2]
    return re.findall(r", (?:\*, )?(\w+): ", signature)


def methods() -> list[tuple[str, str]]:
    return [
        (owner, name)
        for owner in CLASSES
        for name in vars(getattr(dist, owner))
        if (name == "__init__" or not name.startswith("_"))
        and callable(getattr(getattr(dist, owner), name))
    ]


@pytest.mark.parametrize(("owner", "name"), methods())
def test_names_and_order_of_arguments(owner: str, name: str) -> None:
    """Where torch names an argument, ours has that name, and every one is at the same place."""
    theirs = arguments(getattr(getattr(dist, owner), name))
    ours = arguments(getattr(getattr(rendezvous, owner), name))
    assert len(ours) >= len(theirs)
    for their, our in zip(theirs, ours, strict=False):
        assert re.fullmatch(r"arg\d", their) or their == our


def test_the_names_are_found() -> None:
    """In torch's docstrings, and in ours."""
    for module in (dist, rendezvous):
        found = arguments(module.TCPStore.__init__)
        assert found[:4] == ["host_name", "port", "world_size", "is_master"]
        assert "use_libuv" in found


@pytest.mark.parametrize("owner", CLASSES)
def test_ours_have_every_public_attribute(owner: str) -> None:
    """Properties too; of the private ones, that of PrefixStore."""
    names = {name for name in dir(getattr(dist, owner)) if not name.startswith("_")}
    assert names - set(dir(getattr(rendezvous, owner))) == set()
    assert hasattr(rendezvous.PrefixStore, "_underlying_non_prefix_store")
