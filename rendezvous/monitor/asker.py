"""Asks the server, for all who look: one question at a time, and few of them.

A question waits for the server's thread. If that stands still, the asker does, and nobody else:
whoever waits for its answer is told after some seconds. Answers are shared, so that a thousand
requests in a tenth of a second cost the server one question.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import StoreError
from rendezvous._base.threads import Background, Event

if TYPE_CHECKING:
    from rendezvous import _core

__all__ = ["Asker", "Shared", "UnansweredError"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# How long one waits for the server's thread.
ANSWER_S = 5.0
_WAITING_MAX = 256
# After a question, the server has rest for that many times as long as it took: whatever is asked,
# it has nine tenths of its time for others.
_REST_TIMES = 9.0
_REST_S_MAX = 0.5
_END_S = 1.0


class UnansweredError(Exception):
    """The server's thread does not answer, or the server is closed; says which."""


class _Question(Generic[_T]):
    def __init__(self, ask: Callable[[_core.Server], _T]) -> None:
        self._ask = ask
        self.is_answered = Event()
        self.answer: _T | None = None
        self.error: Exception | None = None

    def put_to(self, server: _core.Server) -> None:
        try:
            self.answer = self._ask(server)
        except Exception as error:  # noqa: BLE001  (whoever asked raises it)
            self.error = error
        self.is_answered.set()


class Asker:
    """A thread that asks one server. `ask` may be called by any thread."""

    def __init__(self, server: _core.Server) -> None:
        self._server = server
        self._questions: queue.Queue[_Question[Any] | None] = queue.Queue(_WAITING_MAX)
        self._thread = Background("rendezvous-monitor-asker", self._work)

    def start(self) -> None:
        """Raises StoreConnectionError when the system refuses a thread."""
        self._thread.start()

    def close(self) -> None:
        """A question that the server does not answer is left alone."""
        self._thread.ask_to_stop()
        try:
            self._questions.put_nowait(None)
        except queue.Full:
            return
        self._thread.stop(Deadline.after(_END_S))

    def ask(self, ask: Callable[[_core.Server], _T]) -> _T:
        """What `ask(server)` returns. Raises UnansweredError."""
        question = _Question(ask)
        try:
            self._questions.put_nowait(question)
        except queue.Full:
            raise UnansweredError("too many requests wait for the server") from None
        if not question.is_answered.wait(ANSWER_S):
            raise UnansweredError(f"the server has not answered within {ANSWER_S:g} s")
        if isinstance(question.error, StoreError):
            raise UnansweredError(str(question.error)) from question.error
        if question.error is not None:
            raise question.error
        return question.answer  # type: ignore[return-value]

    def _work(self, stop: Event) -> None:
        while not stop.is_set():
            question = self._questions.get()
            if question is None:
                continue
            began = now_s()
            question.put_to(self._server)
            stop.wait(min(_REST_TIMES * (now_s() - began), _REST_S_MAX))


class Shared:
    """Answers that several may have: each is made by one of those who want it, and kept a while.

    Args:
        clock: seconds, monotonic.
        cpu: of the calling thread, in seconds: what an answer costs. A name server that is waited
            for costs nothing.
    """

    _KEPT_MAX = 64
    # What could not be made is not tried again at once, or those who wait would wait in turn.
    _FAILED_S = 1.0

    def __init__(
        self,
        clock: Callable[[], float] = now_s,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock, self._cpu = clock, cpu
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # The value or the error, and until when it is good.
        self._made: OrderedDict[Hashable, tuple[Any, Exception | None, float]] = OrderedDict()
        self._in_work: set[Hashable] = set()

    def get(
        self, key: Hashable, make: Callable[[], _T], kept_s: float, times_its_cost: float = 0.0
    ) -> _T:
        """What `make` returned no longer than `kept_s` ago, or returns now; raises what it does.

        times_its_cost: it is kept longer if it was costly to make: that many times its CPU time.
        """
        with self._lock:
            while True:
                value, error, good_until = self._made.get(key, (None, None, -1.0))
                if self._clock() < good_until:
                    if error is not None:
                        raise error
                    return value  # type: ignore[no-any-return]
                if key not in self._in_work:
                    break
                self._changed.wait()
            self._in_work.add(key)
        began = self._cpu()
        try:
            made = make()
        except Exception as failure:
            self._keep(key, (None, failure, self._clock() + self._FAILED_S))
            raise
        else:
            kept_s = max(kept_s, times_its_cost * (self._cpu() - began))
            self._keep(key, (made, None, self._clock() + kept_s))
            return made
        finally:
            with self._lock:
                self._in_work.discard(key)
                self._changed.notify_all()

    def _keep(self, key: Hashable, what: tuple[Any, Exception | None, float]) -> None:
        with self._lock:
            self._made[key] = what
            self._made.move_to_end(key)
            while len(self._made) > self._KEPT_MAX:
                self._made.popitem(last=False)
