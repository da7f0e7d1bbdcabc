"""Who is in a run on etcd, asked as an onlooker: nothing is joined or changed."""

from rendezvous import _core
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.host_names import natural_key
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous.backends.etcd.backend import DEFAULT_KEY_PREFIX, EtcdRendezvousBackend
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.wire import prefix_end
from rendezvous.backends.etcd.run.keys import RunKeys
from rendezvous.backends.etcd.run.view import view_of_onlooker

__all__ = ["list_runs", "look_at_run"]

_RUNS_MAX = 10_000


def list_runs(client: EtcdClient, key_prefix: str | None, deadline: Deadline) -> list[str]:
    """The names of all runs, in natural order. Raises StoreError."""
    prefix = f"{(key_prefix or DEFAULT_KEY_PREFIX).rstrip('/')}/".encode()
    # Below runs/ is what a leader and its nodes write; each run has a key beside it.
    inner = prefix + b"runs/"
    names = []
    for begin, end in ((prefix, inner), (prefix_end(inner), prefix_end(prefix))):
        found = client.range(begin, end, limit=_RUNS_MAX, keys_only=True, deadline=deadline)
        names += [kv.key[len(prefix) :].decode(errors="replace") for kv in found.kvs]
    return sorted(names, key=natural_key)


def look_at_run(
    client: EtcdClient, key_prefix: str | None, run_id: str, deadline: Deadline, limit: int | None
) -> RunView | None:
    """The run, kept by a leader or by compare-and-set; None if there is none.

    Args:
        key_prefix: None, or empty, for the default.
        limit: how many nodes of each list to name; None: all.

    Raises StoreError, RendezvousStateError, RendezvousConnectionError.
    """
    key_prefix = key_prefix or DEFAULT_KEY_PREFIX
    view = view_of_onlooker(client, RunKeys(key_prefix, run_id), deadline, limit)
    if view is not None:
        return view
    backend = EtcdRendezvousBackend(client, run_id, key_prefix)
    backend.set_timeout(deadline.left_s)
    found = backend.get_state()
    if found is None:
        return None
    group = _core.Group()
    group.observe(found[0], now_s())
    return view_of_group(group, now_s(), "store", limit=limit)
