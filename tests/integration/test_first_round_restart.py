"""The store's server restarts, without what it knew, while nodes wait for the very first round."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from handler_support import RUN, Run, joining
from support.background import eventually
from support.proxy import FaultProxy

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousParameters,
    Server,
    TCPStore,
    get_rendezvous_handler,
)


def _node(proxy: FaultProxy, rulebook: str) -> DynamicRendezvousHandler:
    handler = get_rendezvous_handler(
        RendezvousParameters(
            "c10d",
            f"127.0.0.1:{proxy.port}",
            RUN,
            2,
            2,
            "127.0.0.1",
            is_host="0",
            rulebook=rulebook,
            keep_alive_interval="0.2",
            keep_alive_max_attempt="1000",
        )
    )
    assert isinstance(handler, DynamicRendezvousHandler)
    return handler


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("rulebook", ["server", "store"])
def test_who_waits_goes_on_waiting_and_the_rounds_store_works_at_first_use(
    connect: Callable[..., TCPStore], rulebook: str, times: int
) -> None:
    """No round was lost, so nobody need be told anything; neither by the join nor by the store."""
    servers = [Server("127.0.0.1", 0)]
    handlers: list[DynamicRendezvousHandler] = []
    with FaultProxy(servers[-1].port) as proxy:

        def is_listed() -> bool:
            return len(Run(lambda: connect(servers[-1].port), rulebook).look().participants) == 1

        handlers.append(_node(proxy, rulebook))
        waiting = joining(handlers[0])
        eventually("it waits", is_listed)
        for _ in range(times):
            servers.append(Server("127.0.0.1", 0))
            proxy.target_port = servers[-1].port
            servers[-2].close()
            proxy.cut(reset=True)
            eventually("it waits there, too", is_listed)
        handlers.append(_node(proxy, rulebook))
        infos = [handlers[1].next_rendezvous(), waiting.result()]
        assert sorted(info.rank for info in infos) == [0, 1]
        for info in infos:
            info.store.set(f"from {info.rank}", "here")
        for info in infos:
            assert info.store.get(f"from {1 - info.rank}") == b"here"
        for handler in handlers:
            handler.shutdown()
    servers[-1].close()
