"""A handler from the parameters that a launcher has: reads their configuration."""

from typing import TYPE_CHECKING

from rendezvous._base.api import KeyValueStore, RendezvousParameters
from rendezvous._base.backend import RendezvousBackend
from rendezvous._base.settings import HandlerOptions
from rendezvous.handler import DynamicRendezvousHandler
from rendezvous.handler.observed import ObservedHandler

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = ["create_handler"]


def create_handler(
    store: KeyValueStore,
    backend: RendezvousBackend,
    params: RendezvousParameters,
    connection: "StoreConnection | None" = None,
) -> DynamicRendezvousHandler:
    """A handler over an open backend, set up by the parameters' configuration.

    Keys, times in seconds: `join_timeout` 600, `spare_timeout` (none), `last_call_timeout` 30,
    `close_timeout` 30, `heartbeat_timeout` 5, `keep_alive_interval` 5, `keep_alive_max_attempt` 3.
    Others, as in `DynamicRendezvousHandler.from_backend`: `bootstrap_store` true, `hold_port` true,
    `rulebook` auto; `health_check`, a command or a callable, and `on_event`, see `rendezvous.join`;
    those of `rendezvous._base.security`
    and those of RendezvousRules, by their names. Raises ValueError for bad
    values.
    """
    options = HandlerOptions.of(params)
    handler = ObservedHandler.from_backend(
        params.run_id,
        store,
        backend,
        params.min_nodes,
        params.max_nodes,
        params.local_addr,
        options.timeout,
        options.keep_alive_interval_s,
        options.keep_alive_max_attempt,
        bootstrap_store=options.bootstrap_store,
        hold_port=options.hold_port,
        rulebook=options.rulebook,
        rules=options.rules,
        security=options.security,
        connection=connection,
    )
    assert isinstance(handler, ObservedHandler)
    handler.observe(options.on_event, options.health_check)
    return handler
