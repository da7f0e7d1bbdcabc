"""Waits for writes: a stream of events that is opened again wherever it breaks off.

Each watch has a connection of its own and belongs to one thread. It misses nothing: a new stream
begins at the revision that the last one had come to. A member that hangs is noticed, as it is asked
for a sign of life whenever it has been silent for a while.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from rendezvous._base.deadline import Deadline, now_s
from rendezvous.backends.etcd.client.login import Login
from rendezvous.backends.etcd.client.members import Members
from rendezvous.backends.etcd.client.wire import Event, event_of, op_range, revision_of
from rendezvous.backends.etcd.transport import Message, Stream, Transport
from rendezvous.backends.etcd.transport.endpoints import Endpoint
from rendezvous.backends.etcd.transport.errors import (
    PERMISSION_DENIED,
    UNAVAILABLE,
    EtcdConnectionError,
    EtcdRequestError,
    ReplyError,
    TransportError,
)

__all__ = ["CompactedError", "Watch", "watch_bytes"]

_SILENCE_S = 3.0
_PAUSE_S_MAX = 0.5
# How cancellations say that the user, or the token, is not good for this watch. etcd 3.5 says the
# same of both.
_DENIALS = ("permission denied", "invalid auth token", "user name is empty")
_DENIALS_MAX = 3

_Self = TypeVar("_Self", bound="Watch")


def watch_bytes(ranges: Sequence[tuple[bytes, bytes]]) -> int:
    """How long the requests to watch them are at most, as Transport.stream_bytes_max counts."""
    return sum(100 + (len(key) + len(end)) * 4 // 3 for key, end in ranges)


class CompactedError(Exception):
    """The revision to start from is gone; read what is there now, and watch from then on.

    revision: the first that is there; or the last, of a cluster that has lost later ones.
    """

    def __init__(self, revision: int) -> None:
        super().__init__(f"etcd's history was compacted at revision {revision}")
        self.revision = revision


class Watch:
    """Made by EtcdClient.watch; close it, or use it in a `with`."""

    def __init__(
        self,
        login: Login,
        transport: Transport,
        members: Members,
        ranges: Sequence[tuple[bytes, bytes]],
        start_revision: int,
    ) -> None:
        self._login = login
        self._transport = transport
        self._members = members
        self._ranges = list(ranges)
        self._revision = start_revision
        self._stream: Stream | None = None
        self._endpoint: Endpoint | None = None
        self._token = ""
        self._created = 0
        self._heard_s = 0.0
        self._failures = 0
        self._denials = 0
        self._interrupted = False

    def next(self, deadline: Deadline) -> list[Event]:
        """The next events, at least one; none when the deadline passes first.

        After a stream broke off, events of its last revision may come twice. Raises CompactedError,
        EtcdRequestError when the user may not watch, EtcdConnectionError when the peer is not an
        etcd.
        """
        while not deadline.is_over and not self._interrupted:
            try:
                stream = self._opened(deadline)
                message = stream.next(deadline.sooner(self._patience_left_s))
                if message is not None:
                    self._heard_s = now_s()
                    events = self._take(message)
                    if events:
                        return events
                elif not deadline.is_over and self._patience_left_s <= 0:
                    self._check_alive(deadline)
            except TransportError as error:
                if error.fatal:
                    self.close()
                    raise EtcdConnectionError(
                        f"watching at etcd {self._endpoint or self._members.current}: {error.text}"
                    ) from error
                self._break_off(deadline)
            except ReplyError as error:
                self._refused(error, deadline)
        return []

    def interrupt(self) -> None:
        """From any thread: `next` returns soon, and from then on at once."""
        self._interrupted = True
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def close(self) -> None:
        """End it. May be called again."""
        stream, self._stream = self._stream, None
        self._created = 0
        if stream is not None:
            stream.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _is_open(self) -> bool:
        return self._created == len(self._ranges)

    @property
    def _attempt_s(self) -> float:
        return self._members.attempt_s(self._failures)

    @property
    def _patience_left_s(self) -> float:
        """Until its member is asked for a sign of life: counted over calls, which may be short."""
        patience_s = _SILENCE_S if self._is_open else self._attempt_s
        return max(0.0, self._heard_s + patience_s - now_s())

    def _opened(self, deadline: Deadline) -> Stream:
        if self._stream is None:
            self._endpoint = self._members.current
            attempt = deadline.sooner(self._attempt_s)
            self._token = self._login.token(self._endpoint, attempt)
            self._stream = self._transport.stream(
                self._endpoint, "watch", self._requests(), self._token, attempt
            )
            self._heard_s = now_s()
        return self._stream

    def _requests(self) -> list[Message]:
        requests = []
        for key, end in self._ranges:
            message = op_range(key, end)["request_range"]
            requests.append({"create_request": message | {"start_revision": self._revision}})
        return requests

    def _take(self, message: Message) -> list[Event]:
        if message.get("canceled"):
            compacted = message.get("compact_revision", 0)
            if compacted:
                self.close()
                raise CompactedError(compacted)
            reason = message.get("cancel_reason", "without a reason")
            denied = any(text in reason for text in _DENIALS)
            raise ReplyError(PERMISSION_DENIED if denied else UNAVAILABLE, reason)
        if message.get("created"):
            self._created += 1
            self._failures = self._denials = 0
        events = [event_of(event) for event in message.get("events", ())]
        if events and len(self._ranges) == 1:
            # Other ranges may still owe events of this revision; a single one does not.
            self._revision = max(event.kv.mod_revision for event in events) + 1
        return events

    def _check_alive(self, deadline: Deadline) -> None:
        if not self._is_open or self._endpoint is None:
            raise TransportError("no answer to a watch in time", sent=False)
        try:
            self._read_once(self._ranges[0], self._endpoint, deadline)
        except TransportError:
            # A call with little time left has not given it enough: the next ones go on asking.
            fair_s = self._heard_s + _SILENCE_S + self._attempt_s
            if not deadline.is_over or now_s() >= fair_s:
                raise
        else:
            self._heard_s = now_s()

    def _read_once(
        self, watched: tuple[bytes, bytes], endpoint: Endpoint, deadline: Deadline
    ) -> None:
        message = op_range(*watched, count_only=True)["request_range"]
        answer = self._login.call(endpoint, "kv/range", message, deadline.sooner(self._attempt_s))
        now = revision_of(answer)
        if now + 1 < self._revision:
            # A cluster that lost its data, or got old ones back, counts from a lower number: a
            # watch would be silent until it has come as far again.
            self.close()
            raise CompactedError(now)

    def _refused(self, error: ReplyError, deadline: Deadline) -> None:
        denied = not error.is_transient
        try:
            if denied:
                # A read tells a token that was forgotten, and renews it, from what the user may
                # not.
                self._denials += 1
                for watched in self._ranges:
                    endpoint = self._endpoint or self._members.current
                    self._read_once(watched, endpoint, deadline)
        except TransportError:
            denied = False
        except ReplyError as reason:
            if not reason.is_transient:
                raise self._refusal(reason) from reason
            denied = False
        if denied and self._denials > _DENIALS_MAX:
            raise self._refusal(error) from error
        self._break_off(deadline, leave=not denied)

    def _refusal(self, error: ReplyError) -> EtcdRequestError:
        self.close()
        return EtcdRequestError(
            f"watching at etcd {self._endpoint or self._members.current}: refused: {error.text} "
            f"(code {error.code}); the user needs a role with read permission for the prefix of "
            "these keys",
            error.code,
        )

    def _break_off(self, deadline: Deadline, leave: bool = True) -> None:
        with suppress(TransportError):
            self.close()
        if leave:
            self._members.leave(self._endpoint or self._members.current)
        self._failures += 1
        if self._failures > 1:
            pause_s = min(0.02 * 2 ** min(self._failures, 10), _PAUSE_S_MAX)
            pause_s *= random.uniform(0.5, 1.0)  # noqa: S311  (spreads clients)
            deadline.sleep(pause_s)
