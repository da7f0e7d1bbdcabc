"""Joining a run that the store's server keeps: one request, which the server answers when the round
is complete. Runs on the caller's thread.
"""

from dataclasses import replace

from rendezvous import _core
from rendezvous._base.errors import RendezvousError
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.by_server.view import view_of_joiner
from rendezvous._coordination.by_server.watch import Lookout, Watch
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._coordination.exchange import EXCHANGE_S_MIN, Exchange, told
from rendezvous._coordination.join import Answer, Joining
from rendezvous._coordination.run_view import RunView
from rendezvous._coordination.waiting import finished_error, left_error

__all__ = ["ServerJoining"]

# How long a spare waits at once: a server that falls silent is noticed then.
_SPARE_ASKS_S = 60.0


class ServerJoining(Joining):
    """Meanwhile, the watch looks at the run.

    Args:
        old_seat: in the last complete round, if the node has not left it.
    """

    failures_untold = 1

    def __init__(  # noqa: PLR0917
        self,
        setup: NodeSetup,
        client: _core.RunClient,
        exchange: Exchange,
        watch: Watch,
        lookout: Lookout,
        after_round: int,
        old_seat: Seat | None,
    ) -> None:
        self._setup = setup
        self._client = client
        self._exchange = exchange
        self._watch = watch
        self._lookout = lookout
        self._after_round = after_round
        self._old_seat = old_seat
        self._is_listed = False
        self._is_silent = False  # the server, to what was asked last

    def ask(self, time: JoinTime) -> Answer:
        self._watch.wake()  # the deadline may have moved
        self._is_silent = True
        if not self._is_listed:
            self._reclaim(time)
        joined = self._ask_to_join(time)
        self._is_silent = False
        self._is_listed = joined.outcome in ("spare", "no spare")
        if self._is_listed:
            return Answer(is_spare=joined.outcome == "spare")
        if joined.outcome == "timeout":
            return Answer(is_late=True)
        if joined.outcome == "dropped":
            if not self._watch.is_running:  # it has left meanwhile, by another thread
                raise left_error(self._setup.run_id)
            return Answer(was_evicted=True)
        if joined.outcome == "finished":
            role = None if self._lookout.view is None else self._lookout.view.role
            raise finished_error(self._setup.run_id, joined.round, role)
        around = (joined.before, joined.after)
        seat = Seat(joined.round, joined.rank, joined.world_size, joined.first, around)
        self._watch.take_seat(seat, joined.changes, time.deadline)
        return Answer(seat)

    def look(self, time: JoinTime) -> RunView | None:
        view = self._lookout.view
        if view is not None or self._is_silent:
            return view
        try:
            view = self._exchange.ask(
                lambda in_time: view_of_joiner(self._client, self._setup.expected, in_time),
                time.deadline,
            )
        except RendezvousError:
            return None
        return view if view is None or view.role != "absent" else self._with_this_node(view)

    def _with_this_node(self, view: RunView) -> RunView:
        """The view with this node, as before its time was over."""
        counts, settings = view.counts, self._setup.settings
        if view.complete:
            is_full = counts.participants + counts.waiting >= settings.max_nodes
            return replace(view, role="spare" if is_full else "waiting")
        participants = tuple(sorted({*view.participants, self._setup.node}))
        counts = replace(counts, participants=counts.participants + 1)
        return replace(view, role="forming", participants=participants, counts=counts)

    def _reclaim(self, time: JoinTime) -> None:
        """Tell a restarted server that this node has its place in the old round."""
        seat = self._old_seat
        if seat is None or seat.round != self._after_round or not self._watch.is_running:
            return
        if not self._exchange.ask(self._watch.keep_alive, time.deadline).known:
            self._exchange.ask(
                lambda in_time: self._client.resume(
                    seat.round, seat.rank, seat.world_size, in_time.left_s
                ),
                time.deadline,
            )

    def _ask_to_join(self, time: JoinTime) -> _core.RunJoined:
        in_time = time.deadline.at_least(EXCHANGE_S_MIN)
        if time.is_spare:
            in_time = in_time.sooner(_SPARE_ASKS_S)
        with told(self._setup.run_id):
            return self._client.join(self._after_round, in_time.left_s, time.is_spare)
