"""Backends of other distributions, found by the entry point group `rendezvous.backends`.

An entry point's name is the backend's. Its object is, as in torch's group `torchrun.handlers`,
called without arguments and returns the creator. A plug-in is loaded only when its backend is
requested, so a broken one does not affect users of another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from rendezvous._base.api import RendezvousHandler, RendezvousParameters

__all__ = ["GROUP", "find_creator", "plugin_names"]

GROUP = "rendezvous.backends"

_log = logging.getLogger(__name__)

_Creator = Callable[[RendezvousParameters], RendezvousHandler]


def plugin_names() -> list[str]:
    """The names of the plug-ins' backends."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def find_creator(backend: str) -> _Creator | None:
    """The creator of a plug-in's backend; None if no plug-in has that name.

    If one of two plug-ins with the same name cannot be loaded, the log says so. Raises RuntimeError
    when none of them can be loaded, and when several can.
    """
    found: dict[str, _Creator] = {}
    failures: list[str] = []
    cause: Exception | None = None
    for entry in entry_points(group=GROUP, name=backend):
        try:
            found.setdefault(entry.value, _load(entry))
        except Exception as error:  # noqa: BLE001  (whatever somebody else's module raises)
            failures.append(f"{_described(entry)}: {type(error).__name__}: {error}")
            cause = error
    if len(found) > 1:
        raise RuntimeError(
            f"several plug-ins provide the rendezvous backend {backend!r}: {', '.join(found)}; "
            "uninstall all but one"
        )
    if failures and not found:
        raise RuntimeError(
            f"the plug-in of the rendezvous backend {backend!r} cannot be loaded: "
            f"{'; '.join(failures)}"
        ) from cause
    for failure in failures:
        _log.warning("a plug-in cannot be loaded; another one with its name is used: %s", failure)
    return next(iter(found.values()), None)


def _load(entry: EntryPoint) -> _Creator:
    creator: _Creator = entry.load()()
    if not callable(creator):
        raise TypeError(f"it returned {creator!r}, not a creator of handlers")
    return creator


def _described(entry: EntryPoint) -> str:
    owner = "" if entry.dist is None else f" of {entry.dist.name} {entry.dist.version}"
    return f"{entry.value}{owner}"
