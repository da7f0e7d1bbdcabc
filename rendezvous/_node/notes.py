"""What is said in words to the nodes of a run, beside its state: who found itself unfit before it
was in any round, and which nodes are expected.

Whoever waits in vain, or is sent away, looks for it and says it; so does `rendezvous status`.
Nobody removes a note: a store that knows times to live drops it. Runs on the caller's thread; best
effort.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote

from rendezvous import _core
from rendezvous._base.errors import StoreError
from rendezvous._base.host_names import fold_hosts
from rendezvous._base.text import node_text
from rendezvous._stores.prefix import PrefixStore
from rendezvous._stores.store import Store

__all__ = ["expected_key", "find_exclusions", "find_expected", "note_exclusion", "note_expected"]

_log = logging.getLogger(__name__)

_EXCLUDED = "excluded"
_TTL_S = 600.0
_EXPECTED = "expected"
_EXPECTED_KEY = "names"
_EXPECTED_TTL_S = 7 * 86400.0
_EXPECTED_CHARS = 1_000_000
_TIMEOUT_S = 2.0
_SHOWN_MAX = 16
_TEXT_CHARS = 1000


def note_exclusion(store: Store, run_id: str, node: _core.Node, reason: str) -> None:
    """Say to all that look within some minutes that this node does not take part, and why."""
    _note(store, run_id, _EXCLUDED, node_text(node), reason[:_TEXT_CHARS])


def find_exclusions(store: Store, run_id: str) -> list[str]:
    """What nodes have said: `node0 (pid 12): its health check ...`."""
    return [f"{key}: {text}" for key, text in _find(store, run_id, _EXCLUDED)]


def note_expected(store: Store, run_id: str, names: Sequence[str]) -> None:
    """Say which nodes are to come, to those that look at a run that does not come together."""
    text = ",".join(fold_hosts(names))
    if 0 < len(text) <= _EXPECTED_CHARS:
        _note(store, run_id, _EXPECTED, _EXPECTED_KEY, text, _EXPECTED_TTL_S)


def find_expected(store: Store, run_id: str) -> str:
    """What was said last: a list as `expect` takes it; empty: nothing was."""
    with suppress(StoreError):
        text = PrefixStore(_place(_EXPECTED, run_id), store).try_get(_EXPECTED_KEY)
        return "" if text is None else text.decode(errors="replace")
    return ""


def expected_key(run_id: str) -> str:
    """Where a server has what was said last, in its table."""
    return f"/{_place(_EXPECTED, run_id)}/{_EXPECTED_KEY}"


def _note(  # noqa: PLR0917
    store: Store, run_id: str, kind: str, key: str, text: str, ttl_s: float = _TTL_S
) -> None:
    try:
        with store.clone(_TIMEOUT_S) as own:
            own.set_timeout(_TIMEOUT_S)
            notes = PrefixStore(_place(kind, run_id), own)
            try:
                notes.set(key, text, ttl_s)
            except StoreError:  # a store without times to live
                notes.set(key, text)
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
