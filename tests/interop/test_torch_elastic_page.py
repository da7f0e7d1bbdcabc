"""docs/coming-from-torch-elastic.md has a line for every public name of torch's rendezvous."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import rendezvous
from rendezvous.handler import registry

elastic: Any = pytest.importorskip("torch.distributed.elastic.rendezvous", reason="needs torch")

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-torch-elastic.md").read_text()
FOLDER = Path(str(elastic.__file__)).parent


def names_of(path: Path) -> set[str]:
    """What `__all__` lists, and what has a public name; not imported, as some need python-etcd."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found |= set(ast.literal_eval(node.value))
    return {name for name in found if not name.startswith("_")}


TORCHS = sorted(
    {
        name
        for path in FOLDER.glob("*.py")
        if path.stem == "__init__" or not path.stem.startswith("_")
        for name in names_of(path)
    }
)


def test_torchs_names_are_found() -> None:
    """Those of several modules."""
    assert {"RendezvousParameters", "StaticTCPRendezvous", "RendezvousSettings"} <= set(TORCHS)


@pytest.mark.parametrize("name", TORCHS)
def test_every_public_name_of_torchs_is_on_the_page(name: str) -> None:
    """In the table of names, on the left."""
    left = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in cell for cell in left)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(rendezvous(?:\.\w+)+)[(`]", PAGE))))
def test_every_name_of_ours_on_the_page_is_there(name: str) -> None:
    """What a reader is sent to can be imported."""
    found: Any = rendezvous
    for part in name.split(".")[1:]:
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(f"{found.__name__}.{part}")


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize(
    "name",
    [
        "RendezvousHandler",
        "RendezvousHandlerRegistry",
        "RendezvousInfo",
        "RendezvousParameters",
        "RendezvousStoreInfo",
        "DynamicRendezvousHandler",
        "RendezvousBackend",
        "RendezvousTimeout",
    ],
)
def test_counterparts_have_the_same_methods(name: str) -> None:
    """Whoever changes the import changes nothing else."""
    dynamic = importlib.import_module(f"{elastic.__name__}.dynamic_rendezvous")
    theirs = getattr(elastic, name, None) or getattr(dynamic, name)
    ours = getattr(rendezvous, name)
    fields = {field.name for field in getattr(ours, "__dataclass_fields__", {}).values()}
    assert public(theirs) - public(ours) - fields == set()


def test_settings_have_the_same_fields() -> None:
    """Of a handler; ours has the rules that torch lacks, too, which have defaults."""
    dynamic = importlib.import_module(f"{elastic.__name__}.dynamic_rendezvous")
    theirs = {field.name for field in dataclasses.fields(dynamic.RendezvousSettings)}
    ours = {field.name for field in dataclasses.fields(rendezvous.RendezvousSettings)}
    assert ours - theirs == {"rules"}
    assert theirs <= ours


def test_the_registry_knows_torchs_backends() -> None:
    """By name: each is made, or answered in words."""
    theirs = set(elastic.rendezvous_handler_registry._registry)
    known = set(registry.rendezvous_handler_registry._creators)
    assert theirs - {"rendezvous", "rendezvous-static"} <= known


@pytest.mark.parametrize(
    "endpoint", [None, "", "host", "host:1", "[::1]:29400", "[::1]", " 10.0.0.1:65535 ", "h:65536"]
)
def test_endpoints_are_read_as_torch_reads_them(endpoint: str | None) -> None:
    """The same host and port, or a ValueError."""
    utils = importlib.import_module(f"{elastic.__name__}.utils")
    try:
        theirs = utils.parse_rendezvous_endpoint(endpoint, 29400)
    except ValueError:
        with pytest.raises(ValueError, match="not valid"):
            rendezvous.parse_rendezvous_endpoint(endpoint, 29400)
    else:
        assert rendezvous.parse_rendezvous_endpoint(endpoint, 29400) == theirs
