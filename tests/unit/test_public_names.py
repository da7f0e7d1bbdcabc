"""The public surface: what `rendezvous` exports, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import rendezvous
from rendezvous import errors

PUBLIC = {
    "Barrier",
    "C10dRendezvousBackend",
    "DynamicRendezvousHandler",
    "FileStore",
    "HashStore",
    "Node",
    "PrefixStore",
    "RendezvousBackend",
    "RendezvousHandler",
    "RendezvousHandlerRegistry",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousStoreInfo",
    "RendezvousTimeout",
    "Server",
    "Store",
    "TCPStore",
    "__version__",
    "get_rendezvous_handler",
    "open_store",
    "rendezvous_handler_registry",
} | set(errors.__all__)


def test_all_lists_the_public_names() -> None:
    """A name comes or goes on purpose: this list is changed with it."""
    assert set(rendezvous.__all__) == PUBLIC
    assert len(rendezvous.__all__) == len(PUBLIC)


def test_public_names_exist_and_nothing_else_leaks() -> None:
    """`from rendezvous import *` and tab completion show the same."""
    names = {
        name
        for name, value in vars(rendezvous).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert names == PUBLIC - {"__version__"}
    assert rendezvous.__version__


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
