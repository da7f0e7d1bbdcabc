"""Who is in a run that a server of ours has, asked as an onlooker: nothing is joined or changed.

The server may keep the run itself, or its nodes may keep it there by compare-and-set. Of runs on
etcd, etcd/look.py tells.
"""

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import RendezvousStateError
from rendezvous._coordination.by_server.view import view_of_onlooker
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous.backends.c10d import decode_state, state_key, stored_text

__all__ = ["look_at_run", "look_at_stored_run"]

# How often the server may have taken the run since it was asked.
_LOOKS_MAX = 5


def look_at_run(
    store: _core.TCPStore, run_id: str, deadline: Deadline, limit: int | None
) -> RunView | None:
    """The run, or None if the server at the other end knows no such run.

    Args:
        limit: how many nodes of each list to ask for; None: all.

    Raises StoreError, and RendezvousStateError where the run's key holds something else.
    """
    onlooker = _core.Node("onlooker", 0, 0)
    client = _core.RunClient(store, run_id, onlooker, _core.GroupSettings(1, 1), 0)
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
