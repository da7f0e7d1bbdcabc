"""One node's copy of the group, in step with a backend: read, apply the rulebook, write back.

Owns the copy, the token and the lock under which both threads of a handler (its caller's, and the
heartbeat's) use them, one exchange at a time. Decides nothing about a rendezvous: that is
_core.Group's. The lock is never held while sleeping. If a signal handler begins an exchange in the
middle of another, it counts as having won the race.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from rendezvous import _core
from rendezvous._base.backend import RendezvousBackend, Token
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import RendezvousConnectionError, RendezvousStateError
from rendezvous._base.patience import Backoff, patiently
from rendezvous._coordination.coordinator import OwnView

__all__ = ["Operation", "StateSync"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
# Changes the group or only looks at it, at a time of `now_s`. Called again for each
# write that lost its race.
Operation: TypeAlias = Callable[[_core.Group, float], _T]

_EMPTY_GROUP = _core.Group().encode()
# A write that lost brings back what won, so the next one needs no read; after a sleep it does, or
# it would be sure to lose again.
_WRITES_A_READ = 2
# Who lost again waits for so many times as long as it took: the more nodes are at it, the longer
# that is, and the rarer each of them must try if any is to win.
_PAUSES_AN_EXCHANGE = 4
_PAUSE_S_MAX = 2.0
# What an exchange gets even at its deadline: enough for a server that is well, within the promise
# of 100 ms.
_EXCHANGE_S_MIN = 0.05
_LEAVE_ATTEMPT_S = 0.5


class StateSync:
    """Applies operations to the group that a backend keeps.

    Args:
        exchange_s: how long one exchange with the backend may take, if the backend has timeouts.
    """

    def __init__(
        self, backend: RendezvousBackend, node: _core.Node, run_id: str, exchange_s: float
    ) -> None:
        self._backend = backend
        self._node = node
        self._run_id = run_id
        self._exchange_s = exchange_s
        # A signal's handler may ask for an exchange in the middle of one that its thread is in.
        self._lock = threading.RLock()
        self._exchanges = 0
        self._group = _core.Group()
        # The newest answer of the backend, and the newest state that the rulebook could read.
        self._state: bytes | None = None
        self._token: Token | None = None
        self._known: bytes | None = None
        self._view = OwnView()
        self._has_lost = False
        self._newcomers_due_s: float | None = None

    @property
    def view(self) -> OwnView:
        """The state at the last exchange. Costs nothing."""
        return self._view

    @property
    def look_s(self) -> float | None:
        """In how many seconds the view changes by time alone; None: it does not."""
        due_s = self._newcomers_due_s
        return None if due_s is None else max(0.0, due_s - now_s())

    def is_intact(self) -> bool:
        """Whether the node is active in a round without losses, as of the last exchange."""
        view = self._view
        return view.role == "active" and view.round == view.my_round and not self._has_lost

    def run(self, operation: Operation[_T], deadline: Deadline) -> _T:
        """Apply the operation to the newest state and write what it changed.

        Returns the operation's result for the state that is now stored. Lost races are retried
        until the deadline, a broken connection is not. Raises RendezvousConnectionError,
        RendezvousStateError and the operation's errors; then nothing was written, unless an answer
        got lost.
        """
        backoff = Backoff(0.002, 0.25)
        while True:
            with self._hold(deadline):
                begun_s = now_s()
                self._accept(self._backend.get_state())
                for _ in range(_WRITES_A_READ):
                    written, result = self._attempt(operation)
                    if written:
                        return result
            took_s = now_s() - begun_s
            if deadline.is_over:
                raise RendezvousConnectionError(
                    f"run {self._run_id!r}: the state changed between every read and write, "
                    "until the deadline"
                )
            backoff.sleep(deadline, min(_PAUSE_S_MAX, _PAUSES_AN_EXCHANGE * took_s))

    def run_patiently(
        self,
        operation: Operation[_T],
        deadline: Deadline,
        is_over: Callable[[], bool] | None = None,
    ) -> _T:
        """Like `run`, but waits for a backend that cannot be reached; raises its error at the
        deadline.

        is_over: whether there is no point in waiting, as in `patiently`; called after half a
        second.
        """

        def attempt() -> _T:
            # Short: a store that is gone is asked for first, and then looked for.
            in_time = deadline if is_over is None else deadline.sooner(_LEAVE_ATTEMPT_S)
            return self.run(operation, in_time)

        return patiently(attempt, deadline, is_over)

    @contextmanager
    def _hold(self, deadline: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=deadline.at_least(_EXCHANGE_S_MIN).left_s):
            raise RendezvousConnectionError(
                f"run {self._run_id!r}: the backend does not answer: an earlier exchange has not "
                "ended"
            )
        try:
            self._exchanges += 1
            exchange = deadline.at_least(_EXCHANGE_S_MIN).sooner(self._exchange_s)
            self._backend.set_timeout(exchange.left_s)
            yield
        finally:
            self._lock.release()

    def _attempt(self, operation: Operation[_T]) -> tuple[bool, _T]:
        at_s = now_s()
        exchange = self._exchanges
        state, token = self._state, self._token
        try:
            self._group.observe(state, at_s)
        except RendezvousStateError as error:
            raise RendezvousStateError(f"run {self._run_id!r}: {error}") from error
        self._known = state or self._known
        self._group.expire(at_s)
        result = operation(self._group, at_s)
        changed = self._group.encode()
        if self._exchanges != exchange:
            return False, result  # a signal's handler has used the group in between
        # Nothing is created just because somebody looked.
        if changed == (_EMPTY_GROUP if state is None else state):
            self._look()
            return True, result
        answer = self._backend.set_state(changed, token)
        if answer is None or not answer[2]:
            self._accept(answer)
            return False, result
        self._state, self._token, _ = answer
        self._known = self._state
        self._look()
        return True, result

    def _accept(self, answer: tuple[bytes, Token] | tuple[bytes, Token, bool] | None) -> None:
        if answer is None and self._known is not None:
            answer = self._restore(self._known)
        self._state, self._token = (None, None) if answer is None else (answer[0], answer[1])

    def _restore(self, known: bytes) -> tuple[bytes, Token, bool]:
        """Restore what the store lost, so that its restart does not disturb running jobs."""
        answer = self._backend.set_state(known, None)
        if answer is None:
            raise RendezvousConnectionError(
                f"run {self._run_id!r}: its state vanished and could not be restored"
            )
        who = "this node" if answer[2] else "another node"
        _log.warning("run %r: the store lost its state; %s restored it", self._run_id, who)
        return answer

    def _look(self) -> None:
        group = self._group
        role = group.placement(self._node).role
        self._has_lost = bool(group.lost)
        self._newcomers_due_s = group.newcomers_due
        my_round = group.round if role == "active" else self._view.my_round
        self._view = OwnView(
            round=group.round,
            role=role,
            closed=group.closed,
            my_round=my_round,
            changes=group.membership_changes(self._node, my_round) if my_round else 0,
        )
