"""The leader of a run on etcd: the one node that runs the rulebook, on a thread of its own.

It begins with what its predecessor published, takes what nodes wrote since, and publishes what
others must know. Every write compares the leader's key and the last publication: a leader that was
taken for dead fails at its first one, and stops. Knows no rule of a rendezvous (book.py).
"""

import logging
import random
from dataclasses import dataclass, replace

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.errors import RendezvousStateError, StoreError
from rendezvous._base.patience import Outage
from rendezvous._base.threads import Background, Event
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.watch import CompactedError, Watch
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import (
    RunKeys,
    Summary,
    node_of,
    state_of,
    state_pieces,
)
from rendezvous.backends.etcd.run.leader.book import Book
from rendezvous.backends.etcd.run.leader.press import FencedError, Press

__all__ = ["Leader", "Reading", "read_run"]

_log = logging.getLogger(__name__)

# How long what nobody waits for may wait for more of its kind: numbers that agents look at, and
# those that are only for the log. Every node gets each publication: of very many, fewer.
_WAIT_S_MIN = 0.001
_COALESCE_S = 0.1
_IDLE_S = 1.0
_NODES_A_SECOND = 10_000
# After a failure, and while failures go on.
_PAUSE_S, _PAUSE_S_MAX = 0.5, 5.0


@dataclass(frozen=True)
class Reading:
    """All of a run at one revision.

    leader: what the leader's key holds. lease: of what was published; 0: it has none.
    """

    summary: Summary | None
    summary_revision: int
    state: bytes | None
    inbox: list[KeyValue]
    leader: bytes | None
    revision: int
    lease: int

    def book(self, keys: RunKeys, at_s: float) -> Book:
        return Book.of(keys, self.summary, self.state, self.inbox, self.revision, at_s)


def read_run(client: EtcdClient, keys: RunKeys, deadline: Deadline) -> Reading:
    """Raises RendezvousStateError, StoreErrors."""
    result = client.range(*keys.everything, deadline=deadline)
    entries = {kv.key: kv for kv in result.kvs}
    found, leads = entries.get(keys.round), entries.get(keys.leader)
    summary = None if found is None else Summary.decode(found.value)
    state = None
    if summary is not None:
        names = [keys.state(summary.sequence, piece) for piece in range(summary.pieces)]
        pieces = [entries[name].value for name in names if name in entries]
        if len(pieces) == summary.pieces:
            state = state_of(pieces)
        else:
            _log.warning("run %r: etcd lost a part of its state; it starts over", keys.run_id)
            summary = replace(Summary(), sequence=summary.sequence)
    start, end = keys.inbox
    return Reading(
        summary,
        0 if found is None else found.mod_revision,
        state,
        [kv for kv in result.kvs if start <= kv.key < end],
        None if leads is None else leads.value,
        result.revision,
        0 if found is None else found.lease,
    )


class Leader:
    """One term of one node.

    Args:
        fence: the revision of the leader's key in this term.
        name: of this node.
    """

    def __init__(  # noqa: PLR0917
        self,
        client: EtcdClient,
        keys: RunKeys,
        name: str,
        fence: int,
        kept: KeptLease,
        exchange_s: float,
    ) -> None:
        self._client = client
        self._keys = keys
        self._node = node_of(name)
        self._kept = kept
        self._press = Press(client, keys, fence, kept, exchange_s)
        # Whether somebody else leads then is what the watch of each node says.
        self.is_over = False
        self._exchange_s = exchange_s
        # Without news: what is kept needs its lease renewed from time to time.
        self._look_s = kept.ttl_s / 4
        self._watch: Watch | None = None
        self._outage = Outage(
            _log,
            "run %r: leading failed; retrying: %s",
            "run %r: leading works again",
            keys.run_id,
        )
        self._pause_s = _PAUSE_S
        self._background = Background(f"rendezvous-leader-{keys.run_id}", self._run)

    def start(self) -> None:
        self._background.start()

    def stop(self) -> None:
        """Without a word to anybody: the key goes with the lease."""
        self._background.ask_to_stop()
        watch = self._watch
        if watch is not None:
            watch.interrupt()

    def join(self, deadline: Deadline) -> bool:
        """Wait for the end of the term; whether it is over."""
        return self._background.join(deadline)

    def _run(self, stop: Event) -> None:
        _log.info("run %r: this node, %s, is the leader", self._keys.run_id, self._node.addr)
        try:
            while not stop.is_set():
                try:
                    self._reign()
                except FencedError:
                    _log.warning(
                        "run %r: this node is no longer the leader: its lease expired, or its "
                        "key was deleted",
                        self._keys.run_id,
                    )
                    return
                except CompactedError:
                    continue
                except Exception as error:  # noqa: BLE001
                    if stop.is_set():
                        return
                    is_unknown = not isinstance(error, StoreError | RendezvousStateError)
                    self._outage.note(error, with_traceback=is_unknown)
                    # Every attempt reads the whole run.
                    stop.wait(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                    self._pause_s = min(2 * self._pause_s, _PAUSE_S_MAX)
                else:
                    return
        finally:
            self.is_over = True
            self._client.close()

    def _reign(self) -> None:
        """Until this node goes. Reads everything first, so that it may be begun again."""
        reading = read_run(self._client, self._keys, Deadline.after(self._exchange_s))
        book = reading.book(self._keys, now_s())
        self._kept.adopt(reading.lease)
        self._press.begin(reading.summary_revision)
        self._publish(book)
        with self._client.watch([self._keys.inbox], reading.revision + 1) as watch:
            self._watch = watch
            try:
                self._follow(book, watch)
            finally:
                self._watch = None

    def _follow(self, book: Book, watch: Watch) -> None:
        gone = self._is_gone(book)
        due: Deadline | None = None
        while not self._background.is_stopping and not gone:
            wait = Deadline.after(self._look_s) if due is None else due.at_least(_WAIT_S_MIN)
            due_s = book.due_s(now_s())
            if due_s is not None:
                wait = wait.sooner(max(_WAIT_S_MIN, due_s))
            events = watch.next(wait)
            if self._background.is_stopping:
                return
            at_s = now_s()
            for event in events:
                book.apply(event.kv, event.is_delete, at_s)
                if book.is_urgent:
                    self._publish(book)
                    due = None
                gone = gone or self._is_gone(book)
            book.expire(at_s)
            if events:
                pause_s = _COALESCE_S if book.group.complete else _IDLE_S
                pause_s = max(pause_s, book.published.nodes / _NODES_A_SECOND)
                due = Deadline.after(pause_s).or_sooner(due)
            if book.is_urgent or (not events if due is None else due.is_over):
                self._publish(book)
                due = None
        if gone and not self._background.is_stopping:
            self._publish(book)
            self._press.resign()

    def _is_gone(self, book: Book) -> bool:
        """Whether this node has no place any more: then another one shall lead."""
        return book.group.placement(self._node).role in ("absent", "done")

    def _publish(self, book: Book) -> None:
        summary = book.summary(now_s())
        if summary != book.published or not self._press.keeps():
            summary = replace(summary, sequence=summary.sequence + 1)
            pieces = state_pieces(book.group.encode())
            summary = replace(summary, pieces=len(pieces))
            self._press.publish(summary, pieces, book.seats, book.refusals)
            book.note_published(summary)
            self._pause_s = _PAUSE_S
            self._outage.note(None)
        if book.left:
            self._press.clear(book.left)
            book.left = {}
