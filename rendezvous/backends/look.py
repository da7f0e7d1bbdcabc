"""Who is in a run that a server of ours has, asked as an onlooker: nothing is joined or changed.

The server may keep the run itself, or its nodes may keep it there by compare-and-set. Of runs on
etcd, etcd/look.py tells.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import RendezvousStateError
from rendezvous._base.host_names import natural_key
from rendezvous._coordination.by_server.view import view_of_onlooker
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous._stores.store import Store
from rendezvous.backends.c10d import decode_state, state_key, stored_text

__all__ = [
    "host_states",
    "list_runs",
    "look_at_run",
    "look_at_stored_run",
    "similar_runs",
    "watcher_of",
]

# How often the server may have taken the run since it was asked.
_LOOKS_MAX = 5
_HOSTS_MAX = 1_000
_SIMILAR_MAX = 3
_SIMILARITY = 0.75
# Nobody mistypes a longer name, and comparing such ones costs its length squared.
_COMPARED_CHARS_MAX = 128


def list_runs(store: Store) -> list[str]:
    """The names of all runs, in natural order. Raises StoreError."""
    prefix = state_key("")
    return sorted((key[len(prefix) :] for key in store.list_keys(prefix)), key=natural_key)


def similar_runs(run_id: str, runs: Iterable[str]) -> list[str]:
    """Those that somebody may mean who says `run_id`."""
    if len(run_id) > _COMPARED_CHARS_MAX:
        return []
    by_lower = {
        run.lower(): run for run in runs if run != run_id and len(run) <= _COMPARED_CHARS_MAX
    }
    found = get_close_matches(run_id.lower(), by_lower, _SIMILAR_MAX, _SIMILARITY)
    return [by_lower[lower] for lower in found]


def host_states(
    store: _core.TCPStore, addresses: Sequence[str], deadline: Deadline
) -> dict[str, str]:
    """Of numeric addresses, as of RunView.hosts. Raises StoreError."""
    asked = list(addresses)[:_HOSTS_MAX]
    if not asked:
        return {}
    client = watcher_of(store, "-")
    try:
        return dict(zip(asked, client.hosts(asked, deadline.left_s), strict=True))
    finally:
        client.close()


def watcher_of(store: _core.TCPStore, run_id: str) -> _core.RunClient:
    """A client of a run for who takes no part in it; the caller closes it."""
    node = _core.Node("onlooker", 0, 0)
    return _core.RunClient(store, run_id, node, _core.GroupSettings(1, 1), 0)


def look_at_run(
    store: _core.TCPStore, run_id: str, deadline: Deadline, limit: int | None
) -> RunView | None:
    """The run, or None if the server at the other end knows no such run.

    Args:
        limit: how many nodes of each list to ask for; None: all.

    Raises StoreError, and RendezvousStateError where the run's key holds something else.
    """
    client = watcher_of(store, run_id)
    try:
        for _ in range(_LOOKS_MAX):
            view = view_of_onlooker(client, deadline, limit)
            if view is not None:
                return view
            store.set_timeout(deadline.left_s)
            text = stored_text(store, run_id)
            if text != _core.RUN_MARKER:
                return None if text is None else _from_state(run_id, text, limit)
        raise RendezvousStateError(
            f"run {run_id!r}: its key says that the server keeps it, but the server does not know "
            "it; delete that key, or use another run id"
        )
    finally:
        client.close()


def look_at_stored_run(store: _core.FileStore, run_id: str, limit: int | None) -> RunView | None:
    """The run that its nodes keep in a store by compare-and-set; raises as `look_at_run`."""
    text = stored_text(store, run_id)
    return None if text is None else _from_state(run_id, text, limit)


def _from_state(run_id: str, text: str, limit: int | None) -> RunView:
    group = _core.Group()
    try:
        group.observe(decode_state(state_key(run_id), text), now_s())
    except RendezvousStateError as error:
        raise RendezvousStateError(f"run {run_id!r}: {error}") from error
    return view_of_group(group, now_s(), "store", limit=limit)
