"""The public surface: what `rendezvous` exports, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import rendezvous
from rendezvous import errors

PUBLIC = {
    "Barrier",
    "C10dRendezvousBackend",
    "DynamicRendezvousHandler",
    "Event",
    "FileStore",
    "HashStore",
    "Node",
    "PrefixStore",
    "RendezvousBackend",
    "RendezvousHandler",
    "RendezvousHandlerRegistry",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousRules",
    "RendezvousSettings",
    "RendezvousStoreInfo",
    "RendezvousTimeout",
    "Server",
    "StaticRendezvousHandler",
    "Store",
    "TCPStore",
    "World",
    "__version__",
    "get_rendezvous_handler",
    "join",
    "open_store",
    "parse_rendezvous_endpoint",
    "rendezvous_handler_registry",
} | set(errors.__all__)


def test_all_lists_the_public_names() -> None:
    """A name comes or goes on purpose: this list is changed with it."""
    assert set(rendezvous.__all__) == PUBLIC
    assert len(rendezvous.__all__) == len(PUBLIC)


MODULES = {"api", "backends", "errors", "handler", "registry", "static"}


def test_public_names_exist_and_nothing_else_leaks() -> None:
    """`from rendezvous import *` and tab completion show the same, and the modules of users."""
    star: dict[str, object] = {}
    exec("from rendezvous import *", star)
    assert set(star) - {"__builtins__"} == PUBLIC
    assert set(dir(rendezvous)) == PUBLIC | MODULES
    assert all(inspect.ismodule(getattr(rendezvous, name)) for name in MODULES)


@pytest.mark.parametrize("module", ["api", "errors"])
def test_what_users_catch_and_make_shows_its_public_name(module: str) -> None:
    """In tracebacks and pickles; not the room in which it is defined."""
    public = importlib.import_module(f"rendezvous.{module}")
    made = [getattr(public, name) for name in public.__all__]
    classes = [each for each in made if inspect.isclass(each)]
    assert classes
    assert {each.__module__ for each in classes} == {f"rendezvous.{module}"}
    assert [pickle.loads(pickle.dumps(each)) for each in classes] == classes


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """In the words of Python's own, though names are looked up when they are asked for."""
    with pytest.raises(AttributeError, match="module 'rendezvous' has no attribute 'Sorte'"):
        rendezvous.Sorte  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Sorte"):
        exec("from rendezvous import Sorte")


def test_importing_loads_nothing_until_a_name_is_asked_for(tmp_path: Path) -> None:
    """Torch loads the plug-in of torchrun, and with it the package, in every worker."""
    code = (
        "import sys; before = set(sys.modules); import rendezvous._torchrun.entry as entry;"
        "entry.get_creator(); entry.get_static_creator();"
        "new = set(sys.modules) - before;"
        "assert new == {'rendezvous', 'rendezvous._torchrun', 'rendezvous._torchrun.entry'}, new;"
        "from rendezvous import HashStore; assert 'rendezvous._core' in sys.modules;"
        "assert 'rendezvous.handler' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_public_names_have_a_docstring() -> None:
    """What a user meets explains itself."""
    silent = [
        name
        for name in rendezvous.__all__
        if callable(getattr(rendezvous, name)) and not getattr(rendezvous, name).__doc__
    ]
    assert silent == []


def test_importing_needs_no_torch_and_starts_no_thread(tmp_path: Path) -> None:
    """An import costs a launcher nothing but time."""
    code = (
        "import sys, threading, rendezvous;"
        "assert 'torch' not in sys.modules;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_nothing_is_imported_that_a_public_name_does_not_use() -> None:
    """Neither etcd's client nor the command's parser, by any name of the package."""
    code = (
        "import sys, rendezvous\n"
        "for name in rendezvous.__all__:\n"
        "    getattr(rendezvous, name)\n"
        "unused = ('argparse', 'rendezvous.cli', 'rendezvous.backends.etcd', 'asyncio', 'torch')\n"
        "print([name for name in unused if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
