"""Sends a request to the members of a cluster in turn until one has answered, or time is up.

Owns which member is asked, for how long, when the next one is, and whether a failure may have
done something all the same. Any thread may use it; it takes no lock, as a fork may come at any
time. Logging in is login.py's.
"""

import random
from collections.abc import Callable, Sequence
from typing import NoReturn

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.transport import Message
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import (
    INVALID_ARGUMENT,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    EtcdConnectionError,
    EtcdLimitError,
    EtcdRequestError,
    EtcdTimeoutError,
    ReplyError,
    TransportError,
)

__all__ = ["Members"]

# How long one member is waited for before the next is asked: the first time, and at most. To leave
# the only one takes it twice the work when it is merely slow, as thousands come at once, and helps
# where a connection was dropped without a word.
_ATTEMPT_S, _ATTEMPT_ALONE_S = 1.5, 5.0
_ATTEMPT_S_MAX = 12.0
_PAUSE_S = 0.02
_PAUSE_S_MAX = 0.5
_FAILURES_SHOWN_MAX = 4


class Members:
    """The members named, in an order of our own, so that clients spread over them."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = list(endpoints)
        random.shuffle(self._endpoints)
        self._position = 0

    def __str__(self) -> str:
        return ",".join(sorted(map(str, self._endpoints)))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._endpoints)

    @property
    def current(self) -> Endpoint:
        """The one that is asked next."""
        return self._endpoints[self._position % len(self._endpoints)]

    def attempt_s(self, timeouts: int) -> float:
        """How long to wait for a member after so many have not answered in time. When all of them
        are slow, as when a disk stalls, they need more than one attempt grants."""
        first_s = _ATTEMPT_S if self.count > 1 else _ATTEMPT_ALONE_S
        return min(first_s * 2.0 ** min(timeouts // self.count, 10), _ATTEMPT_S_MAX)

    def leave(self, failed: Endpoint) -> None:
        """Ask another one next, unless somebody has seen to that."""
        if self.current == failed:
            self._position += 1

    def ask(
        self,
        request: Callable[[Endpoint, Deadline], Message],
        what: str,
        deadline: Deadline,
        *,
        changes: bool,
        repeatable: bool,
        once: bool = False,
    ) -> Message:
        """The first answer.

        what: the operation and its key, for errors.
        changes: whether the request writes. One that does is sent again after its answer was lost
            only if it is `repeatable`: if doing it twice is doing it once.
        once: only one member is asked, and once.

        Raises EtcdRequestError when the cluster refuses, EtcdTimeoutError and EtcdConnectionError
        when no member answers, with `ambiguous` saying whether a write may have been done.
        """
        attempt = _Attempts(self, what, deadline)
        while True:
            endpoint = self.current
            # What may not be sent again gains nothing by leaving the only member: it would fail.
            stays = changes and not repeatable and self.count == 1
            granted = deadline if stays else deadline.sooner(self.attempt_s(attempt.timeouts))
            try:
                return request(endpoint, granted)
            except TransportError as error:
                # One that refuses, as all do in an outage, says nothing of how slow they are: after
                # it a lease may depend on how soon another one is asked.
                attempt.timeouts += granted.is_over
                attempt.failed(endpoint, error.text, changes and error.sent)
                if error.fatal:
                    attempt.give_up()
            except ReplyError as error:
                if not error.is_transient:
                    raise attempt.refusal(endpoint, error) from error
                attempt.failed(endpoint, error.text, changes and error.is_ambiguous)
            if once or (attempt.ambiguous and not repeatable):
                attempt.give_up()
            self.leave(endpoint)
            attempt.pause()


class _Attempts:
    """What has been tried for one request, and what is to be said of it."""

    def __init__(self, members: Members, what: str, deadline: Deadline) -> None:
        self.ambiguous = False
        self.timeouts = 0
        self._members = members
        self._what = what
        self._deadline = deadline
        self._reasons: dict[Endpoint, str] = {}
        self._count = 0
        self._pause_s = _PAUSE_S

    def failed(self, endpoint: Endpoint, text: str, ambiguous: bool) -> None:
        self.ambiguous = self.ambiguous or ambiguous
        self._count += 1
        # The last attempt may just have been cut off: the one before it knew more.
        if endpoint not in self._reasons or not self._deadline.is_over:
            self._reasons[endpoint] = text

    def pause(self) -> None:
        """Between two rounds over all members. Raises when no time is left for another."""
        if self._deadline.is_over:
            self.give_up()
        if self._count % self._members.count == 0:
            pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads clients)
            self._deadline.sleep(pause_s)
            self._pause_s = min(2 * self._pause_s, _PAUSE_S_MAX)
            if self._deadline.is_over:
                self.give_up()

    def give_up(self) -> NoReturn:
        shown = [f"{endpoint}: {text}" for endpoint, text in self._reasons.items()]
        more = len(shown) - _FAILURES_SHOWN_MAX
        failures = "; ".join(shown[:_FAILURES_SHOWN_MAX]) + (f"; {more} more" if more > 0 else "")
        outcome = (
            " It may or may not have been applied; read the key before you retry."
            if self.ambiguous
            else ""
        )
        verb = "timeout" if self._deadline.is_over else "failed"
        text = (
            f"{self._what}: {verb} after {self._deadline.elapsed_text}: no answer from etcd at "
            f"{self._members} ({failures}).{outcome} Check the endpoints, and that a majority of "
            "the members is running"
        )
        if self._deadline.is_over:
            raise EtcdTimeoutError(text, ambiguous=self.ambiguous)
        raise EtcdConnectionError(text, ambiguous=self.ambiguous)

    def refusal(self, endpoint: Endpoint, error: ReplyError) -> EtcdRequestError:
        text = (
            f"{self._what}: etcd at {endpoint} refused after {self._deadline.elapsed_text}: "
            f"{error.text} (code {error.code})"
        )
        advice = _advice(error)
        if advice:
            text += f"; {advice}"
        kind = EtcdLimitError if _is_limit(error) else EtcdRequestError
        return kind(text, error.code)


def _is_limit(error: ReplyError) -> bool:
    if error.code == RESOURCE_EXHAUSTED:
        return "larger than max" in error.text
    return error.code == INVALID_ARGUMENT and (
        "request is too large" in error.text or "too many operations" in error.text
    )


def _advice(error: ReplyError) -> str:
    if _is_limit(error):
        return (
            "its default limits are 1.5 MiB a request (--max-request-bytes) and 128 keys a "
            "transaction (--max-txn-ops); make the values smaller"
        )
    if error.code == PERMISSION_DENIED:
        return "grant the user a role with readwrite permission for the prefix of these keys"
    if "space exceeded" in error.text:
        return "compact and defragment it, raise --quota-backend-bytes, then disarm the alarm"
    if error.code == UNAUTHENTICATED or "user name is empty" in error.text:
        return "give a user and a password (RENDEZVOUS_ETCD_USER, RENDEZVOUS_ETCD_PASSWORD)"
    if "authentication failed" in error.text:
        return "check the user's name and password"
    return ""
