"""The bootstrap store of a round: rank 0 serves it, and every other rank learns where.

Owns the server of the current round, if this node is its rank 0. The address is published again for
each round, so that rank 0 may move. Runs on the caller's thread.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from rendezvous import _core
from rendezvous._base.api import KeyValueStore, RendezvousInfo, RendezvousStoreInfo
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import (
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
    StoreError,
    StoreRestartedError,
    StoreUnsupportedError,
)
from rendezvous._base.hosts import bootstrap_hosts, hold_port, serve_workers
from rendezvous._base.patience import Backoff, is_refusal
from rendezvous._base.security import Security
from rendezvous._base.text import node_text
from rendezvous._coordination.coordinator import Coordinator, Seat
from rendezvous._node.address import Addresses, check_address
from rendezvous._node.round_store import forget_rounds, note_round, round_store
from rendezvous._stores.store import Store

__all__ = ["Bootstrap"]

_log = logging.getLogger(__name__)

# How long to wait for rank 0 before looking whether it is still there; with very many nodes, whose
# waits all begin anew then, longer.
_SLICE_S = 0.5
# What publishing gets even at the deadline: enough for a server that is well.
_PUBLISH_S_MIN = 0.05
_SLICE_S_MIN = 0.01
_NODES_A_SECOND = 500
# What earlier rounds have left is removed if that takes no longer; else the next round does it.
# Also how long who leaves asks who is left.
_FORGET_S = 0.25


class Bootstrap:
    """Opens and closes the bootstrap stores of one node's rounds.

    Args:
        store: where the round's key space is made for its user.
        control: reaches the same store, and may be used with the rendezvous' own timeouts.
        addresses: by which rank 0 is reached.
        serve: whether rank 0 serves a store; else it publishes a port on which nothing listens.
        hold_port: whether that port stays bound, so that no other program gets it before the
            command, which listens there with SO_REUSEADDR.
        security: of the run; with a token, only the round's nodes may connect.
    """

    def __init__(
        self,
        *,
        run_id: str,
        store: KeyValueStore,
        control: KeyValueStore,
        node: _core.Node,
        addresses: Addresses,
        serve: bool,
        hold_port: bool = True,
        security: Security,
    ) -> None:
        self._run_id = run_id
        self._store = store
        self._control = control
        self._node = node
        self._addresses = addresses
        self._address = ""  # that this node tells as rank 0 of the round; empty: not yet known
        self.serves = serve
        self._server: _core.Server | None = None
        self._cannot_serve = False
        self._round = 0  # the last one of this node
        self._hold_port = hold_port
        self._security = security
        self._held: socket.socket | None = None

    def open(
        self, seat: Seat, coordinator: Coordinator, deadline: Deadline
    ) -> RendezvousInfo | None:
        """Serve and publish, or wait for rank 0 to do so; None if the round broke meanwhile.

        Raises RendezvousTimeoutError, RendezvousConnectionError.
        """
        self._address, self._cannot_serve = "", False
        self._round = seat.round
        backoff = Backoff(0.02, 1.0)
        while True:
            attempt = Deadline.after(_SLICE_S / 2)
            try:
                if seat.rank == 0:
                    where = self._publish(seat, coordinator, deadline)
                else:
                    where = self._learn(seat, deadline)
                store = round_store(self._store, self._run_id, seat)
                self._meet_server(store, deadline)
                return RendezvousInfo(
                    store=store,
                    rank=seat.rank,
                    world_size=seat.world_size,
                    bootstrap_store_info=where,
                    round=seat.round,
                    neighbours=_addresses(seat.neighbours),
                )
            except (RuntimeError, OSError) as error:
                # The end of a slice, or a store that is away for a while: stores that are not ours
                # do not say which.
                failure = error
                if self._cannot_serve:
                    raise
            if is_refusal(failure):
                raise RendezvousConnectionError(
                    f"run {self._run_id!r}: round {seat.round} is complete, but the store "
                    f"refused the data that its nodes exchange: {failure}"
                ) from failure
            if not coordinator.is_running or not coordinator.is_intact(deadline):
                return None
            if deadline.is_over:
                raise self._timeout(seat, coordinator, failure) from failure
            if not attempt.is_over:
                backoff.sleep(deadline)

    def close(self) -> None:
        """Stop serving. May be called again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._held is not None:
            self._held.close()
            self._held = None

    def tidy_up(self, coordinator: Coordinator, deadline: Deadline) -> None:
        """After this node has left: the last node removes the rounds' keys from the store."""
        if self._round == 0:
            return
        try:
            if coordinator.is_deserted(deadline.sooner(_FORGET_S)):
                self._forget(self._round, deadline)
        except RendezvousError as error:
            _log.debug("run %r: cannot find out which nodes are left: %s", self._run_id, error)

    def _forget(self, last_round: int, deadline: Deadline) -> None:
        """Remove the keys of the run's rounds up to this one, as far as the store allows."""
        try:
            in_time = deadline.sooner(_FORGET_S)
            with self._in_time(self._control, in_time) as bounded:
                forget_rounds(bounded, self._run_id, last_round, in_time)
        except (RuntimeError, OSError, AttributeError) as error:
            # Stores that are not ours need not have what it takes.
            _log.debug("run %r: cannot remove the keys of its rounds: %s", self._run_id, error)

    def _listen(
        self, seat: Seat, address: str, coordinator: Coordinator, deadline: Deadline
    ) -> None:
        hosts = bootstrap_hosts(address, self._addresses.local_addr)
        if not self.serves:
            self._held = hold_port(hosts) if self._hold_port else None
            return
        try:
            self._server = serve_workers(
                hosts,
                self._security,
                lambda: [node.addr for node in coordinator.census(deadline).participants],
            )
        except StoreError as error:
            self._cannot_serve = True
            raise RendezvousConnectionError(
                f"run {self._run_id!r}: this node is rank 0 of round {seat.round} and cannot "
                f"serve the bootstrap store at {address}: {error}"
            ) from error

    def _publish(
        self, seat: Seat, coordinator: Coordinator, deadline: Deadline
    ) -> RendezvousStoreInfo:
        if not self._address:
            self._address = self._addresses.of_rank_0(coordinator, seat.world_size, deadline)
            self._listen(seat, self._address, coordinator, deadline)
        port = None if self._server is None else self._server.port
        if self._held is not None:
            port = self._held.getsockname()[1]
        with self._in_time(self._control, deadline) as bounded:
            note_round(bounded, self._run_id, seat)
            own = round_store(bounded, self._run_id, seat)
            where = RendezvousStoreInfo.build(0, own, self._address, port)
        if seat.round > 1:
            self._forget(seat.round - 1, deadline)
        return where

    def _learn(self, seat: Seat, deadline: Deadline) -> RendezvousStoreInfo:
        store = round_store(self._control, self._run_id, seat)
        slice_s = max(_SLICE_S, seat.world_size / _NODES_A_SECOND)
        slice_s = max(_SLICE_S_MIN, deadline.sooner(slice_s).left_s)
        keys = [RendezvousStoreInfo.MASTER_ADDR_KEY, RendezvousStoreInfo.MASTER_PORT_KEY]
        if isinstance(store, Store):
            # One request, which waits. Torch's stores take no timeout here.
            address, port_text = store.multi_get(keys, slice_s)
            where = RendezvousStoreInfo(address.decode(), int(port_text))
        else:
            store.wait(keys, timedelta(seconds=slice_s))
            with self._in_time(store, deadline) as bounded:
                where = RendezvousStoreInfo.build(seat.rank, bounded, None)
        check_address(where.master_addr, self._node.addr)
        return where

    def _meet_server(self, store: KeyValueStore, deadline: Deadline) -> None:
        """A server that has restarted is told of by the first call of each connection: not by the
        user's, for whom this round has lost nothing. Also of a first one: it may have been waited
        for for long.
        """
        if isinstance(store, Store):
            with suppress(StoreRestartedError):
                store.multi_get([], deadline.at_least(_PUBLISH_S_MIN).left_s)

    @contextmanager
    def _in_time(self, store: KeyValueStore, deadline: Deadline) -> Iterator[KeyValueStore]:
        """The store, with a timeout that keeps the deadline and that no other user of the store
        sees.

        Stores that are not ours keep their own.
        """
        if not isinstance(store, Store):
            yield store
            return
        try:
            own = store.clone(timeout=deadline.at_least(_PUBLISH_S_MIN).left_s)
        except StoreUnsupportedError:
            yield store
            return
        try:
            own.set_timeout(deadline.at_least(_PUBLISH_S_MIN).left_s)
            yield own
        finally:
            own.close()

    def _timeout(
        self, seat: Seat, coordinator: Coordinator, failure: Exception
    ) -> RendezvousTimeoutError:
        name = "" if seat.rank_0 is None else f", {node_text(seat.rank_0)},"
        what = (
            "this node is rank 0 and could not publish its address"
            if seat.rank == 0
            else f"rank 0{name} did not publish its address"
        )
        error = RendezvousTimeoutError(
            f"run {self._run_id!r}: round {seat.round} is complete, but {what} before the join "
            f"timeout ({failure}). What to do: check rank 0's log and the store."
        )
        try:
            census = coordinator.census(Deadline.after(0.0))
        except RendezvousError:
            return error
        error.joined = [node_text(node) for node in census.participants]
        error.lost = [node_text(node) for node in census.lost]
        return error


def _addresses(
    nodes: tuple[_core.Node | None, _core.Node | None],
) -> tuple[str | None, str | None]:
    before, after = nodes
    return before and before.addr, after and after.addr
