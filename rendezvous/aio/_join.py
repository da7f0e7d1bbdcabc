"""`join`: a node of a run, for as long as an `async with` lasts."""

import asyncio
import contextlib
from collections.abc import Generator
from types import TracebackType
from typing import Any

from rendezvous import _core
from rendezvous._base.endpoint import parse_endpoint
from rendezvous._base.errors import RendezvousClosedError, RendezvousConnectionError
from rendezvous._base.rules import RendezvousRules
from rendezvous._base.security import Security, TlsFile, Token
from rendezvous._coordination.exchange import told
from rendezvous._node.facts import make_facts
from rendezvous.aio._node import Node
from rendezvous.aio._tcp import TCPStore
from rendezvous.aio._world import World

__all__ = ["join"]

_DEFAULT_PORT = 29400


class _Joining:
    """What join() returns. Enter it with `async with`."""

    def __init__(  # noqa: PLR0917
        self,
        endpoint: str,
        run_id: str,
        settings: _core.GroupSettings,
        facts: _core.NodeFacts,
        timeout_s: float,
        connect_s: float,
        security: Security,
    ) -> None:
        self._place = parse_endpoint(endpoint, _DEFAULT_PORT)
        self._security = security
        self._run_id = run_id
        self._settings = settings
        self._facts = facts
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._node: Node | None = None

    async def __aenter__(self) -> World:
        store = TCPStore(*self._place, self._timeout_s, self._security)
        try:
            with told(self._run_id):
                await store.open(self._connect_s)
            node = Node(store, self._run_id, self._settings, self._facts, self._timeout_s)
            world = World(node)
            try:
                await node.place(world, 0, None)
            except BaseException:
                # So that the server does not list it any more, even if it was cancelled.
                with contextlib.suppress(RendezvousConnectionError, RendezvousClosedError):
                    await asyncio.shield(node.leave(failed=False))
                raise
        except BaseException:
            await asyncio.shield(store.close())
            raise
        self._node = node
        return world

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        node = self._node
        assert node is not None
        try:
            if not node.has_left:
                with contextlib.suppress(RendezvousConnectionError, RendezvousClosedError):
                    await node.leave(failed=error is not None)
        finally:
            await node.end()

    def __await__(self) -> Generator[Any, Any, World]:
        raise TypeError("use join() with `async with`, which leaves the run at the end")


def join(
    endpoint: str,
    nodes: tuple[int, int],
    run_id: str,
    *,
    timeout: float = 600.0,
    connect_timeout: float = 60.0,
    last_call: float = 30.0,
    keep_alive_interval: float = 5.0,
    keep_alive_max_attempt: int = 3,
    rules: RendezvousRules | None = None,
    token: Token | None = None,
    tls_cert: TlsFile | None = None,
    tls_key: TlsFile | None = None,
    tls_ca: TlsFile | None = None,
    tls_name: str | None = None,
) -> _Joining:
    """Join a run as one node: `async with join("node0:29400", (2, 4), "job") as world`.

    The block starts when a round that includes this node is complete. When the block ends, the node
    leaves the run; if it ends with an exception, the node leaves as failed.

    The endpoint (host[:port], default port 29400) must be a server of ours, for example `rendezvous
    serve`: it runs the rendezvous itself, and join() does not start one. For runs in etcd, in files
    and on torch's servers, use get_rendezvous_handler() in a thread.

    nodes: how many nodes a round has, at least and at most.
    timeout: until a round is complete, in seconds. A spare waits longer, to the end of the job; the
        timeout starts again when it is no longer a spare.
    connect_timeout: until the server is connected, in seconds.
    last_call: how long a round that has enough nodes waits for more, in seconds.
    keep_alive_interval, keep_alive_max_attempt: seconds between heartbeats, and after how many of
        these intervals without a heartbeat a node counts as lost.
    rules: how nodes get their places and ranks; see RendezvousRules.
    token, tls_cert, tls_key, tls_ca, tls_name: as of connect().

    Raises RendezvousTimeoutError; RendezvousConnectionError; RendezvousClosedError or one of its
    subclasses; and RendezvousStateError when the run has other settings.
    """
    if not run_id:
        raise ValueError("the run id is empty; give every node of the job the same run id")
    least, most = nodes
    rules = rules or RendezvousRules()
    settings = rules.group_settings(
        least, most, last_call, keep_alive_interval, keep_alive_max_attempt
    )
    security = Security(token, tls_cert, tls_key, tls_ca, tls_name)
    facts = make_facts(rules)
    return _Joining(endpoint, run_id, settings, facts, timeout, connect_timeout, security)
