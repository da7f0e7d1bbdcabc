"""StaticRendezvousHandler: a fixed number of nodes whose ranks are given, and one TCP store.

The counterpart of torch elastic's StaticTCPRendezvous. No node joins, leaves or is lost: the n-th
`next_rendezvous` of each node meets the n-th of all others. The node of rank 0 serves the store,
unless a server is at its endpoint already (`rendezvous serve`). Called from one thread.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rendezvous import _core
from rendezvous._base.api import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
)
from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import format_endpoint, parse_endpoint
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousStateError,
    RendezvousTimeoutError,
    StoreAddressInUseError,
    StoreError,
    StoreKeysMissingError,
    StoreValueError,
)
from rendezvous._base.hosts import (
    advertised_address,
    bootstrap_hosts,
    is_filtered,
    is_wildcard,
    numeric_addresses,
    serve_workers,
)
from rendezvous._base.lifetime import Lifetime
from rendezvous._base.security import Security
from rendezvous._base.settings import STATIC_SETTINGS, Duration, as_seconds, read_seconds
from rendezvous._stores.prefix import PrefixStore
from rendezvous._stores.store import Store

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = ["STATIC_SETTINGS", "StaticRendezvousHandler", "create_handler"]

_log = logging.getLogger(__name__)

_TIMEOUT_S = 600.0
_CLOSE_S = 30.0
_READ_S = 60.0
_NO_PORT = -1
# How many missing ranks an error names.
_NAMED_MAX = 20


class StaticRendezvousHandler(RendezvousHandler):
    """Makes rounds of all nodes of a job whose number and ranks are known.

    Args:
        master_addr, master_port: where the node of rank 0 serves the store, unless a server is
        there already.
        rank: of this node, from 0.
        world_size: how many nodes there are.
        run_id: names the job; not empty. If the store outlives the job, each job needs a new one.
        timeout: from `next_rendezvous` until all nodes have arrived; default 600 s.
        local_addr: the address by which the others reach this node, if its rank is 0 and a server
            serves the store, or if master_addr means every interface; default: detected, or
            master_addr.
        close_timeout: how long the node that serves the store waits, in `shutdown`, for the others
        to shut down.
        read_timeout: time limit for one request to a round's store.
        security: the job's token or certificates, or that it has none; default: what the
            environment says.
        backend: the name under which it is registered.

    Raises ValueError for bad arguments. Nothing is opened before the first `next_rendezvous`.
    """

    def __init__(  # noqa: PLR0917  (the order is torch's)
        self,
        master_addr: str,
        master_port: int,
        rank: int,
        world_size: int,
        run_id: str,
        timeout: Duration = _TIMEOUT_S,
        *,
        local_addr: str | None = None,
        close_timeout: Duration = _CLOSE_S,
        read_timeout: Duration = _READ_S,
        security: Security | None = None,
        backend: str = "static",
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(
                f"rank is {rank}, of {world_size} nodes; it must be from 0 to {world_size - 1}, "
                "and different on each node"
            )
        if world_size > 1 and is_wildcard(master_addr) and not (rank == 0 and local_addr):
            raise ValueError(
                f"the endpoint's host {master_addr!r} means every interface, so other nodes "
                "cannot connect to it; use the machine of rank 0 (only rank 0 may use it, with "
                "local_addr as the address for the others)"
            )
        self.rank = rank
        self.world_size = world_size
        self._endpoint = format_endpoint(master_addr, master_port)
        self._local_addr = local_addr
        self._timeout_s = as_seconds("timeout", timeout)
        self._close_s = as_seconds("close_timeout", close_timeout)
        # Checks what it is given, for the connection, too.
        self._params = RendezvousParameters(
            backend,
            self._endpoint,
            run_id,
            world_size,
            world_size,
            read_timeout=as_seconds("read_timeout", read_timeout),
            **vars(security or Security()),
        )
        self._security = security or Security()
        # Escaped, so that no run is within another one.
        self._prefix = f"rendezvous.backends.static/{quote(run_id, safe='')}"
        self._name = f"{socket.gethostname()} (pid {os.getpid()})"
        self._token = uuid.uuid4().hex
        self._connection: StoreConnection | None = None
        self._server: _core.Server | None = None
        self._round = 0
        self._lifetime = Lifetime(self._where())

    def __repr__(self) -> str:
        round_ = f"round {self._round}" if self._round else "no round yet"
        is_over = ", shut down" if self._lifetime.shutdown_result is not None else ""
        return (
            f"<rendezvous.StaticRendezvousHandler {self._where()} at {self._endpoint}, "
            f"{round_}{is_over}>"
        )

    def get_backend(self) -> str:
        return self._params.backend

    def get_run_id(self) -> str:
        return self._params.run_id

    @property
    def use_agent_store(self) -> bool:
        """True: rank 0's node serves a store at MASTER_ADDR:MASTER_PORT."""
        return True

    @property
    def hosts_store(self) -> bool:
        """Whether the run's store ends with this handler."""
        return self._connection is not None and self._connection.server is not None

    def next_rendezvous(self) -> RendezvousInfo:
        """Block until every node has called it as often as this one; at most the timeout.

        Raises RendezvousTimeoutError (names the missing ranks), RendezvousConnectionError,
        RendezvousStateError (another node has this rank or another number of nodes, or the run id
        was used before).
        """
        self._lifetime.check()
        deadline = Deadline.after(self._timeout_s)
        connection = self._connect()
        with self._translated():
            master = self._serve(connection)
            addr = advertised_address(connection.control, connection.host, self._local_addr)
            me = json.dumps(
                {"node": self._name, "token": self._token, "master": master, "addr": addr}
            )
            control = self._space(connection.control, self._round + 1)
            found = control.exchange("nodes", self.rank, self.world_size, me, deadline.left_s)
            nodes = [json.loads(each) for each in found]
            self._let_in(control, nodes, deadline)
        if nodes[self.rank]["token"] != self._token:
            raise RendezvousStateError(
                f"{self._where()}: two nodes have rank {self.rank}: {self._name}, and "
                f"{nodes[self.rank]['node']}; give each node a different rank"
            )
        self._round += 1
        host, port, _ = nodes[0]["master"]
        return RendezvousInfo(
            store=self._space(connection.store, self._round),
            rank=self.rank,
            world_size=self.world_size,
            bootstrap_store_info=RendezvousStoreInfo(host, port),
            round=self._round,
        )

    def is_closed(self) -> bool:
        """False: a static run is not closed."""
        return False

    def set_closed(self) -> None:
        """Without effect, as in torch."""

    def num_nodes_waiting(self) -> int:
        """0: no other nodes come."""
        return 0

    def shutdown(self) -> bool:
        """Close what the handler opened; the node that serves the store first waits for the others
        to shut down.

        Takes at most the close timeout. May be called again. Returns whether all nodes were seen to
        leave; raises nothing.
        """
        if self._lifetime.is_elsewhere:
            return True  # a forked child owns nothing of it
        if self._lifetime.shutdown_result is None:
            told = False
            try:
                told = self._connection is None or self._round == 0 or self._part(self._connection)
            except StoreError as error:
                _log.info("%s: this node did not see all nodes leave: %s", self._where(), error)
            finally:
                if self._server is not None:
                    self._server.close()
                if self._connection is not None:
                    self._connection.close()
                self._lifetime.shutdown_result = told
        return self._lifetime.shutdown_result

    def _part(self, connection: StoreConnection) -> bool:
        deadline = Deadline.after(self._close_s)
        if connection.is_gone():
            return False
        space = self._space(connection.control, 0)
        space.set_timeout(deadline.left_s)
        if not connection.is_of_one_job:
            # The last one leaves nothing behind on a server that outlives the job.
            if space.add("left", 1) == self.world_size:
                space.set_timeout(deadline.left_s)
                PrefixStore(self._prefix, connection.control).delete_prefix("")
            return True
        # With this, the store's host may go: nothing can be asked any more.
        space.set(f"left/{self.rank}", b"")
        if connection.server is not None:
            space.wait([f"left/{rank}" for rank in range(self.world_size)], deadline.left_s)
        return True

    def _connect(self) -> StoreConnection:
        if self._connection is None:
            from rendezvous.backends.connection import open_store

            self._params.config["join_timeout"] = self._timeout_s
            self._params.config["is_host"] = self.rank == 0
            try:
                self._connection = open_store(self._params)
            except RendezvousConnectionError as error:
                if not isinstance(error.__cause__, StoreAddressInUseError):
                    raise
                _log.info("%s: using the store already at %s", self._where(), self._endpoint)
                self._params.config["is_host"] = False
                self._connection = open_store(self._params)
        return self._connection

    def _let_in(
        self, control: PrefixStore, nodes: list[dict[str, Any]], deadline: Deadline
    ) -> None:
        """With a token, the workers' store takes nobody before it knows the nodes' addresses."""
        if not nodes[0]["master"][2]:
            return
        if self.rank == 0:
            if self._server is not None:
                self._server.allow(numeric_addresses(node["addr"] for node in nodes))
            control.set("let in", b"")
        else:
            control.wait(["let in"], deadline.left_s)

    def _serve(self, connection: StoreConnection) -> tuple[str, int, bool]:
        """Where the workers of the next round meet, and whether it takes certain addresses only;
        only rank 0's answer matters.

        A separate store, if the server outlives the job: there, workers would find keys of an
        earlier job. Or if it asks for a token, for which torch's protocol has no place.
        """
        is_secured = self.rank == 0 and self._security.exists
        if self.rank != 0 or (connection.server is not None and not is_secured):
            host, port = parse_endpoint(connection.endpoint, _NO_PORT)
            return (self._local_addr or host if is_wildcard(host) else host), port, False
        if self._server is not None:
            self._server.close()
        host = advertised_address(connection.control, connection.host, self._local_addr)
        hosts = bootstrap_hosts(host, self._local_addr)
        self._server = serve_workers(hosts, self._security, lambda: ())
        return host, self._server.port, is_filtered(hosts, self._security)

    def _space(self, store: Store, round_number: int) -> PrefixStore:
        return PrefixStore(f"{self._prefix}/{round_number}", store)

    def _where(self) -> str:
        return f"run {self._params.run_id!r}, rank {self.rank} of {self.world_size}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StoreKeysMissingError as error:
            raise self._timeout(error.ranks) from error
        except StoreValueError as error:
            raise RendezvousStateError(
                f"{self._where()}: the nodes at {self._endpoint} do not match ({error}): either "
                "the nodes were started with different numbers of nodes, or an earlier job with "
                "this run id "
                "used this store; on a store that outlives a job, give each job a new run id"
            ) from error
        except StoreError as error:
            raise RendezvousConnectionError(
                f"{self._where()}: the store at {self._endpoint} fails: {error}"
            ) from error

    def _timeout(self, missing: Sequence[int]) -> RendezvousTimeoutError:
        names = ", ".join(map(str, missing[:_NAMED_MAX]))
        more = f" and {len(missing) - _NAMED_MAX} more" if len(missing) > _NAMED_MAX else ""
        error = RendezvousTimeoutError(
            f"{self._where()}: not all nodes arrived at {self._endpoint} within "
            f"{self._timeout_s:g} s; missing: rank {names}{more}. What to do: check the logs of "
            "these nodes, or raise `timeout` to wait longer",
            min_nodes=self.world_size,
            max_nodes=self.world_size,
        )
        absent = set(missing)
        error.joined = [f"rank {rank}" for rank in range(self.world_size) if rank not in absent]
        return error


def create_handler(params: RendezvousParameters) -> StaticRendezvousHandler:
    """A static handler of `max_nodes` nodes. Nothing is opened before it is used.

    Configuration, times in seconds:
        rank: of this node; must be given.
        timeout, or join_timeout, which takes precedence: until all nodes have arrived; default 600.
        close_timeout: how long rank 0's node stays for the others, if it serves the store; default
        30.
        read_timeout: for one request; default 60.
        token, token_file, tls_cert, tls_key, tls_ca, tls_name, tls, insecure: see docs/security.md.

    Raises ValueError for bad parameters, including an endpoint without a port.
    """
    rank = params.get_as_int("rank")
    if rank is None:
        raise ValueError(
            "a static rendezvous needs this node's rank (from 0) in its configuration: rank=N; "
            "with torchrun, give --rdzv-conf=rank=N (it uses --node-rank only for its own static)"
        )
    if not params.endpoint.strip():
        raise ValueError(
            "a static rendezvous needs an endpoint, HOST:PORT of the node of rank 0; with "
            "torchrun, give --rdzv-endpoint=HOST:PORT (it uses --master-addr only for its own "
            "static)"
        )
    host, port = parse_endpoint(params.endpoint, _NO_PORT)
    if port <= 0:
        raise ValueError(
            f"the endpoint {params.endpoint!r} of a static rendezvous has no port, which all "
            "nodes must know; use HOST:PORT"
        )
    return StaticRendezvousHandler(
        host,
        port,
        rank,
        params.max_nodes,
        params.run_id,
        read_seconds(params, "join_timeout", read_seconds(params, "timeout", _TIMEOUT_S)),
        local_addr=params.local_addr,
        close_timeout=read_seconds(params, "close_timeout", _CLOSE_S),
        read_timeout=read_seconds(params, "read_timeout", _READ_S),
        security=Security.of(params),
        backend=params.backend,
    )
