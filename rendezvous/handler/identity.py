"""The identity of a node in its run: its address, its number, its settings.

Decides nothing about a rendezvous. _node/address.py knows which address is reachable.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from rendezvous import _core
from rendezvous._base.api import KeyValueStore
from rendezvous._base.backend import RendezvousBackend
from rendezvous._base.errors import StoreError
from rendezvous._base.settings import RendezvousSettings
from rendezvous._coordination.coordinator import NodeSetup
from rendezvous._node.address import Addresses
from rendezvous._node.expect import make_expected
from rendezvous._node.facts import make_facts
from rendezvous._node.notes import find_exclusions, note_expected
from rendezvous.backends.look import list_runs, similar_runs

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = ["make_addresses", "make_setup"]

_LOOK_S = 2.0


def make_addresses(
    store: KeyValueStore,
    backend: RendezvousBackend,
    local_addr: str | None,
    connection: "StoreConnection | None",
) -> Addresses:
    """Of a node of this process. Raises as Addresses does."""
    host = connection.host if connection is not None else getattr(store, "host", None)
    return Addresses(
        store,
        host if isinstance(host, str) else None,
        local_addr,
        is_over_etcd=hasattr(backend, "coordinator"),  # no other has one of its own
    )


def make_setup(
    store: KeyValueStore,
    settings: RendezvousSettings,
    addresses: Addresses,
    connection: "StoreConnection | None",
) -> NodeSetup:
    """A new node of this process. Raises ValueError for bad settings."""
    if not settings.run_id:
        raise ValueError("the run id is empty; give every node of the job the same run id")
    timeout = settings.timeout
    rules = settings.rules.group_settings(
        settings.min_nodes,
        settings.max_nodes,
        timeout.last_call_s,
        settings.keep_alive_interval.total_seconds(),
        settings.keep_alive_max_attempt,
    )
    node = _core.Node(addresses.of_node(), os.getpid(), _local_id())
    if connection is None:
        where, is_gone = _describe(store), _never_gone
    else:
        where, is_gone = connection.endpoint, connection.is_gone
    expected = make_expected(settings.rules.expect)

    def tell_expected() -> None:
        if connection is not None:
            note_expected(connection.control, settings.run_id, expected.names)

    def similar() -> list[str]:
        if connection is None or not isinstance(connection.control, _core.TCPStore):
            return []
        with suppress(StoreError), connection.control.clone(_LOOK_S) as own:
            return similar_runs(settings.run_id, list_runs(own))
        return []

    return NodeSetup(
        settings.run_id,
        node,
        rules,
        timeout.heartbeat_s,
        where,
        is_gone,
        make_facts(settings.rules),
        expected,
        tell_expected,
        similar,
        _excluded_by(connection, settings.run_id),
    )


def _excluded_by(connection: "StoreConnection | None", run_id: str) -> Callable[[], list[str]]:
    return list if connection is None else partial(find_exclusions, connection.control, run_id)


def _never_gone() -> bool:
    return False


def _describe(store: object) -> str:
    host, port = getattr(store, "host", None), getattr(store, "port", None)
    return f"{host}:{port}" if host and port else type(store).__name__


def _local_id() -> int:
    """Random, so that handlers of one process differ, and processes of one number in two containers
    too."""
    return int.from_bytes(os.urandom(8), "little") >> 1
