"""What is said in words to the nodes of a run, beside its state: who found itself unfit before it
was in any round.

Whoever waits in vain, or is sent away, looks for it and says it. Nobody removes a note: a store
that knows times to live drops it. Runs on the caller's thread; best effort.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from urllib.parse import quote

from rendezvous import _core
from rendezvous._base.errors import StoreError
from rendezvous._stores.prefix import PrefixStore
from rendezvous._stores.store import Store

__all__ = ["find_exclusions", "note_exclusion"]

_log = logging.getLogger(__name__)

_EXCLUDED = "excluded"
_TTL_S = 600.0
_TIMEOUT_S = 2.0
_SHOWN_MAX = 16
_TEXT_CHARS = 1000


def note_exclusion(store: Store, run_id: str, node: _core.Node, reason: str) -> None:
    """Say to all that look within some minutes that this node does not take part, and why."""
    _note(store, run_id, _EXCLUDED, f"{node.addr} (pid {node.pid})", reason)


def find_exclusions(store: Store, run_id: str) -> list[str]:
    """What nodes have said: `node0 (pid 12): its health check ...`."""
    return [f"{key}: {text}" for key, text in _find(store, run_id, _EXCLUDED)]


def _note(store: Store, run_id: str, kind: str, key: str, text: str) -> None:
    try:
        with store.clone(_TIMEOUT_S) as own:
            own.set_timeout(_TIMEOUT_S)
            notes = PrefixStore(_place(kind, run_id), own)
            try:
                notes.set(key, text[:_TEXT_CHARS], _TTL_S)
            except StoreError:  # a store without times to live
                notes.set(key, text[:_TEXT_CHARS])
    except StoreError as error:
        _log.info("run %r: cannot tell the other nodes why: %s", run_id, error)


def _find(store: Store, run_id: str, kind: str) -> list[tuple[str, str]]:
    found = []
    with suppress(StoreError), store.clone(_TIMEOUT_S) as own:
        own.set_timeout(_TIMEOUT_S)
        notes = PrefixStore(_place(kind, run_id), own)
        for key in notes.list_keys()[:_SHOWN_MAX]:
            text = notes.try_get(key)
            if text is not None:
                found.append((key, text.decode(errors="replace")))
    return found


def _place(kind: str, run_id: str) -> str:
    return f"rendezvous.{kind}/{quote(run_id, safe='')}"
