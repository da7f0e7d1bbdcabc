"""DynamicRendezvousHandler: one node's part in a rendezvous over any backend.

Combines the parts: the access to the group (_coordination/coordinator.py), the node's place in it
(_node/membership.py), the bootstrap store (_node/bootstrap.py). Knows no rule of a rendezvous, no
backend's format, and not where the rulebook runs. Called from one thread; the coordinator has its
own.
"""

import logging
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING

from rendezvous import _core
from rendezvous._base.api import KeyValueStore, RendezvousHandler, RendezvousInfo
from rendezvous._base.backend import RendezvousBackend
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousError, RendezvousGracefulExitError
from rendezvous._base.join_time import JoinTime
from rendezvous._base.lifetime import Lifetime
from rendezvous._base.rules import RendezvousRules
from rendezvous._base.security import Security
from rendezvous._base.settings import Duration, RendezvousSettings, RendezvousTimeout, as_seconds
from rendezvous._coordination.coordinator import Closure, Coordinator, Ending
from rendezvous._node.bootstrap import Bootstrap
from rendezvous._node.membership import Membership
from rendezvous.handler.choose import make_coordinator
from rendezvous.handler.closing import leave_and_close
from rendezvous.handler.identity import make_addresses, make_setup

if TYPE_CHECKING:
    from rendezvous.backends.connection import StoreConnection

__all__ = ["DynamicRendezvousHandler", "RendezvousRules", "RendezvousSettings", "RendezvousTimeout"]

_log = logging.getLogger(__name__)

# Of a first join after connecting has taken nearly all the time.
_FIRST_JOIN_S_MIN = 1.0


class DynamicRendezvousHandler(RendezvousHandler):
    """A handler for nodes that may come, go and fail. Created by `from_backend`."""

    def __init__(
        self,
        *,
        settings: RendezvousSettings,
        backend: RendezvousBackend,
        node: _core.Node,
        coordinator: Coordinator,
        bootstrap: Bootstrap,
        where: str,
        connection: "StoreConnection | None",
    ) -> None:
        self._settings = settings
        self._run_id = settings.run_id
        self._backend = backend
        self._node = node
        self._coordinator = coordinator
        self._bootstrap = bootstrap
        self._timeout = settings.timeout
        self._where = where
        self._connection = connection
        self._opening_s = 0.0 if connection is None else connection.opening_s
        self._lifetime = Lifetime(f"run {self._run_id!r}")
        told_s = min(self._timeout.heartbeat_s, self._timeout.close_s)
        self._membership = Membership(coordinator, node, self._run_id, told_s)
        self._round = 0
        self._is_cancelled = False
        weakref.finalize(self, coordinator.abandon)

    @classmethod
    def from_backend(  # noqa: PLR0917  (the order is torch's)
        cls,
        run_id: str,
        store: KeyValueStore,
        backend: RendezvousBackend,
        min_nodes: int,
        max_nodes: int,
        local_addr: str | None = None,
        timeout: RendezvousTimeout | None = None,
        keep_alive_interval: Duration = 5,
        keep_alive_max_attempt: int = 3,
        *,
        bootstrap_store: bool = True,
        hold_port: bool = True,
        rulebook: str = "auto",
        rules: RendezvousRules | None = None,
        security: Security | None = None,
        connection: "StoreConnection | None" = None,
    ) -> "DynamicRendezvousHandler":
        """A handler over an open backend.

        Args:
            run_id: of the job; not empty.
            store: given to the nodes of each round, with a separate key space. The caller keeps it.
            backend: keeps the state; of the same run.
            min_nodes, max_nodes: minimum and maximum number of nodes of a round.
            local_addr: the address by which other nodes reach this one; default: the address that
                the store's server sees; on the server's own machine, the address by which nodes on
                other machines reach it, or the endpoint's host if there are none; without a server,
                this machine's name, or its address if the name leads every machine to itself; over
                etcd, the local address of the route to a member on another machine, or this
                machine's name.
            timeout: see RendezvousTimeout.
            keep_alive_interval: seconds (or a timedelta) between heartbeats.
            keep_alive_max_attempt: a node is lost after this many intervals without one.
            bootstrap_store: whether rank 0 of each round serves a store at MASTER_ADDR:MASTER_PORT.
                Without, it only publishes a port: for programs that listen at MASTER_PORT
                themselves.
            hold_port: whether that port stays bound until the next round, so that no other program
                gets it; a program that listens there needs SO_REUSEADDR, as most servers use.
            rulebook: where the rules of the rendezvous run, the same for all nodes of a run.
                `server`: the store's server; a node sends one message and gets one answer. Only
                with a C10dRendezvousBackend over a TCPStore of the native protocol. `store`: each
                node, over a state that is replaced by compare-and-set; with any backend. `auto`:
                the server if possible; over etcd, an elected node; else each node.
            rules: how nodes get their places and ranks; see RendezvousRules.
            security: the token or certificates of the run, or that it has none; default: what the
                environment says.
            connection: closed when the handler is shut down.

        Raises ValueError for bad arguments.
        """
        interval_s = as_seconds("keep_alive_interval", keep_alive_interval)
        settings = RendezvousSettings(
            run_id,
            min_nodes,
            max_nodes,
            timeout or RendezvousTimeout(),
            timedelta(seconds=interval_s),
            keep_alive_max_attempt,
            rules or RendezvousRules(),
        )
        addresses = make_addresses(store, backend, local_addr, connection)
        setup = make_setup(store, settings, addresses, connection)
        return cls(
            settings=settings,
            backend=backend,
            node=setup.node,
            coordinator=make_coordinator(rulebook, backend, setup),
            bootstrap=Bootstrap(
                run_id=run_id,
                store=store,
                control=store if connection is None else connection.control,
                node=setup.node,
                addresses=addresses,
                serve=bootstrap_store,
                hold_port=hold_port,
                security=security or Security(),
            ),
            where=setup.where,
            connection=connection,
        )

    def __repr__(self) -> str:
        round_ = f"round {self._round}" if self._round else "no round yet"
        is_over = ", shut down" if self._lifetime.shutdown_result is not None else ""
        return (
            f"<rendezvous.DynamicRendezvousHandler {self._backend.name}, run {self._run_id!r} at "
            f"{self._where}, {round_}{is_over}>"
        )

    @property
    def settings(self) -> RendezvousSettings:
        """Its settings."""
        return self._settings

    @property
    def node(self) -> _core.Node:
        """This node, as others see it."""
        return self._node

    @property
    def hosts_store(self) -> bool:
        """Whether the run's store ends with this handler."""
        return self._connection is not None and self._connection.server is not None

    @property
    def store_endpoint(self) -> str:
        """Where the run's store is, as `host:port`; for stores without one, a description."""
        return self._where

    @property
    def store_address(self) -> str:
        """The run's own key space there, as a URL for `open_store` and the command `rendezvous`.

        Empty for a store that the handler was given.
        """
        return "" if self._connection is None else self._connection.address

    @property
    def use_agent_store(self) -> bool:
        """Whether rank 0 serves a store at MASTER_ADDR:MASTER_PORT, for workers as clients."""
        return self._bootstrap.serves

    def get_backend(self) -> str:
        """The backend's name."""
        return self._backend.name

    def get_run_id(self) -> str:
        """The run id."""
        return self._run_id

    def next_rendezvous(self) -> RendezvousInfo:
        """Join, and block until a round with this node is complete; at most the join timeout.

        For the first call, the time for connecting to the store counts, too. While the node is a
        spare (the current round has max_nodes), the join timeout does not count: a spare waits up
        to the spare timeout, or until the job ends, and has the whole join timeout when it is no
        longer a spare.

        A node in a complete round calls this to ask for the next one; the others see it in their
        `num_nodes_waiting`. If anything ends the call early, Ctrl-C included, this node leaves the
        rendezvous.

        Raises RendezvousClosedError (the run was closed; a RendezvousFinishedError when the others
        finished the job while this node waited, a RendezvousFailedError when nodes gave up and too
        few are left), RendezvousTimeoutError (names the nodes that joined),
        RendezvousConnectionError, RendezvousStateError (the stored value is not a state, or the
        group has other settings).
        """
        self._lifetime.check()
        # Who connects and joins for the first time has one budget for both.
        opening_s, self._opening_s = self._opening_s, 0.0
        left_s = max(_FIRST_JOIN_S_MIN, self._timeout.join_s - opening_s)
        join_s = self._timeout.join_s
        time = JoinTime(Deadline.after(min(left_s, join_s)), join_s, self._timeout.spare_s)
        self._bootstrap.close()
        is_seated = False
        try:
            while True:
                self._enter()
                is_seated = False
                seat = self._coordinator.join(self._round, time)
                is_seated = True
                time.note(is_spare=False)
                self._round = seat.round
                info = self._bootstrap.open(seat, self._coordinator, time.deadline)
                if info is not None:
                    return info
                _log.info(
                    "run %r: round %d broke before its nodes had met; joining again",
                    self._run_id,
                    self._round,
                )
                self._bootstrap.close()
        except BaseException as error:
            self._bootstrap.close()
            self._membership.withdraw(error, time.deadline, is_seated)
            if self._is_cancelled and isinstance(error, RendezvousError):
                raise RendezvousGracefulExitError(
                    f"run {self._run_id!r}: cancelled while this node joined"
                ) from error
            raise

    def _enter(self) -> None:
        if self._is_cancelled:
            raise RendezvousGracefulExitError(f"run {self._run_id!r}: cancelled")
        self._membership.enter()

    def num_nodes_waiting(self) -> int:
        """How many membership changes there were since this node's round was complete.

        Counts nodes that wait for the next round, nodes that were lost, and this node itself if the
        others consider it lost; 0 for a node that left. Answered from the last heartbeat: costs
        nothing and never raises.
        """
        return self._coordinator.view.changes if self._membership.may_be_listed else 0

    def is_closed(self) -> bool:
        """Whether the run is closed, so that no more nodes can join.

        While this node takes part, the answer is that of the last heartbeat; otherwise the backend
        is asked, which may raise RendezvousConnectionError or RendezvousStateError.
        """
        if self._lifetime.is_on and not self._coordinator.is_running:
            self._coordinator.look(Deadline.after(self._timeout.heartbeat_s))
        return self._coordinator.view.closed

    def set_closed(self, reason: str = "", *, do_not_restart: bool = False) -> None:
        """Close the run for good: waiting nodes are dismissed, a running round goes on.

        Args:
            reason: why, for all nodes: the error of those that join tells it, and so does
                `close_reason`. The first one stays; at most 512 bytes of it.
            do_not_restart: the run has failed for good, and to start its nodes again is of no use:
                those that join get a RendezvousFailedError. Also for a run that is closed already,
                whose reason is then this one.

        Raises RendezvousError if that cannot be stored within the close timeout.
        """
        self._lifetime.check()
        closure = Closure(reason, do_not_restart)
        self._coordinator.close(Deadline.after(self._timeout.close_s), closure)

    def close_reason(self) -> str:
        """Why the run was closed, or has failed; empty: it was not, or nobody said.

        Asks the backend. Raises RendezvousConnectionError, RendezvousStateError.
        """
        return self._closure().reason

    def has_failed(self) -> bool:
        """Whether the run has failed for good, so that nobody should start its nodes again.

        Asks the backend. Raises RendezvousConnectionError, RendezvousStateError.
        """
        return self._closure().do_not_restart

    def _closure(self) -> Closure:
        self._lifetime.check()
        return self._coordinator.closure(Deadline.after(self._timeout.heartbeat_s))

    def leave(self, failed: bool = False) -> None:
        """Take this node out of the run; `next_rendezvous` brings it back.

        Args:
            failed: this node's work broke: the others see it as lost, and begin a new round.
                Otherwise it is done, and they are not disturbed.

        The store for the workers stays open until `shutdown`. Without effect on a node that does
        not take part. Raises RendezvousError if the others cannot be told within the close timeout;
        they then notice the missing heartbeats.
        """
        self._lifetime.check()
        self._membership.leave(failed, Deadline.after(self._timeout.close_s))

    def give_up(
        self, exit_code: int, last_line: str | bytes = b"", *, do_not_restart: bool = False
    ) -> str:
        """Leave for good: this node's work broke, and will not be restarted.

        When nodes gave up and fewer than min_nodes are left (including lost ones that may come
        back), no node waits any longer: the other nodes' `next_rendezvous` raises
        RendezvousFailedError.

        Args:
            exit_code: how the work ended.
            last_line: the last line that it wrote, for the others; at most 512 bytes are kept.
            do_not_restart: the run has failed by that for all, however many nodes are left; see
                `set_closed`.

        Returns the root cause as text: which node gave up first since the round was complete, with
        its exit code, the time and its last line. Empty for a node that does not take part. Raises
        the errors of `leave`.
        """
        self._lifetime.check()
        ending = Ending.now(exit_code, last_line, do_not_restart)
        return self._membership.give_up(ending, Deadline.after(self._timeout.close_s))

    def is_disturbed(self) -> bool:
        """Whether a failure of the work may be due to the loss of another node.

        Asks whether a node of the round is lost or suspected, or others wait for the next round.
        A store's server sees connections break, and answers at once; otherwise this call waits for
        a heartbeat of the others, up to keep_alive_interval x keep_alive_max_attempt. A node that
        gave up does not count as a loss. Raises RendezvousConnectionError.
        """
        self._lifetime.check()
        return self._coordinator.is_disturbed(Deadline.after(self._settings.window_s))

    def cancel(self, timeout_s: float, failed: bool = False) -> None:
        """End a `next_rendezvous` that waits in another thread, and leave; for any thread.

        The other thread's call raises RendezvousGracefulExitError. Only `shutdown` may be called
        afterwards. Raises RendezvousError if the others cannot be told in time; they then notice
        the end of the connection, or the missing heartbeats.

        Args:
            timeout_s: for telling the others.
            failed: as for `leave`.
        """
        self._is_cancelled = True
        self._membership.leave(failed, Deadline.after(timeout_s))

    def wait_until_alone(self, timeout_s: float) -> bool:
        """Wait until no other node takes part or waits; True if so, False at the timeout.

        For the process that hosts the store, which the others need until the end. Works before and
        after `leave`. Raises RendezvousConnectionError if the backend cannot be reached before the
        timeout.
        """
        self._lifetime.check()
        return self._membership.wait_until_alone(Deadline.after(timeout_s))

    @property
    def other_nodes(self) -> int:
        """How many other nodes `wait_until_alone` saw last."""
        return self._membership.others

    def shutdown(self) -> bool:
        """Leave, stop the heartbeat, close all that the handler opened. May be called again.

        Unlike in torch, the run stays open for the other nodes: to close it, call `set_closed`.
        Returns whether the others could be told; raises nothing.
        """
        if self._lifetime.is_elsewhere:
            # A forked child has neither the thread nor the place in the rendezvous that it could
            # give up.
            return True
        if self._lifetime.shutdown_result is None:
            self._lifetime.shutdown_result = leave_and_close(
                self._membership,
                self._coordinator,
                self._bootstrap,
                self._connection,
                hosts_store=self.hosts_store,
                timeout=self._timeout,
            )
        return self._lifetime.shutdown_result
