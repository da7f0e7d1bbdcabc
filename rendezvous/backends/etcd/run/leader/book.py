"""The leader's book: the group, and what is to be published of it. Pure: time is an argument.

Takes what nodes wrote, in the order of its revisions, and knows when others must be told. What it
was made of, `Book.of`, is all that a successor, or somebody who wants a census, needs.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from rendezvous import _core
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousStateError,
)
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import (
    RunKeys,
    Summary,
    Wish,
    closure_in,
    node_name,
    node_of,
    seat_pages,
)

__all__ = ["Book", "Refusal"]


@dataclass(frozen=True)
class Refusal:
    """Of the wish that was written at that revision."""

    name: str
    revision: int
    kind: Literal["closed", "failed", "state"]
    text: str


class Book:
    """One run, as its leader has it.

    Attributes:
        group: the rulebook with its state.
        seats: pages of a round that became complete since the last publication.
        refusals: since the last publication.
        left: keys of nodes that went, with their revisions; no longer needed once it is published.
    """

    def __init__(self, keys: RunKeys, summary: Summary, group: _core.Group) -> None:
        self._keys = keys
        self.group = group
        self.published = summary
        self.applied = summary.applied
        self.seats: list[bytes] = []
        self.refusals: list[Refusal] = []
        self.left: dict[bytes, int] = {}
        self._placed = summary
        self._finished_at = summary.finished_at
        self._refused_at = summary.refused_at
        self._failed_at = summary.failed_at
        self._has_failed = summary.failed_round != 0
        self._closed_at = 0  # revision of the key that says so; 0: there is none

    @staticmethod
    def of(  # noqa: PLR0917
        keys: RunKeys,
        summary: Summary | None,
        state: bytes | None,
        inbox: Iterable[KeyValue],
        revision: int,
        now_s: float,
    ) -> "Book":
        """From what is written at a revision. Raises RendezvousStateError."""
        group = _core.Group()
        if state is not None:
            group.observe(state, now_s)
        book = Book(keys, summary or Summary(), group)
        entries = sorted(inbox, key=lambda kv: kv.mod_revision)
        there = {keys.name_of(kv.key) for kv in entries}
        for node in [*group.participants, *group.waiting, *group.spares]:
            if node_name(node) not in there:
                # Its lease ran out while nobody led.
                group.drop(node, now_s)
                book._note(revision)
        for entry in entries:
            if entry.mod_revision > book.applied or (entry.key == keys.closed and state is None):
                book._take(entry, now_s)
            elif entry.key == keys.closed:
                book._note_closed(entry)
                if not group.closed:
                    book.left[entry.key] = entry.mod_revision
            elif keys.name_of(entry.key) is not None:
                book._note_left(entry)
        book.applied = max(book.applied, revision)
        return book

    def apply(self, entry: KeyValue, is_delete: bool, now_s: float) -> None:
        """What was written next."""
        if entry.mod_revision < self.applied:
            return
        if not is_delete:
            self._take(entry, now_s)
        else:
            self.left.pop(entry.key, None)
            name = self._keys.name_of(entry.key)
            if name is not None:
                # Who had said that it goes is not listed any more: this is for those who had not.
                with suppress(RendezvousStateError):  # of a key that is none of ours
                    self.group.drop(node_of(name), now_s)
        self._note(entry.mod_revision)
        self.applied = max(self.applied, entry.mod_revision)

    def due_s(self, now_s: float) -> float | None:
        """How long until `expire` changes something, if nothing else happens; None: it does not."""
        group = self.group
        newcomers = group.newcomers_due
        due = [] if newcomers is None else [max(0.0, newcomers - now_s)]
        call_s = group.last_call_left(now_s)
        return min([*due, *([] if call_s is None else [call_s])], default=None)

    def expire(self, now_s: float) -> None:
        """End a last call, or a debounce, that is over. Who is alive is said by leases."""
        due_s = self.due_s(now_s)
        if due_s is None or due_s > 0:
            return
        group = self.group
        for node in [*group.participants, *group.waiting, *group.spares]:
            group.keep_alive(node, now_s)
        group.expire(now_s)
        self._note(self.applied)

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for what happened."""
        group, told = self.group, self.published
        return (
            (group.round, group.complete, group.closed, group.finished_round, group.failed_round)
            != (told.round, told.complete, told.closed, told.finished_round, told.failed_round)
            or bool(self.seats)
            or bool(self.refusals)
        )

    def summary(self, now_s: float) -> Summary:
        """As it is to be published; equal to the last one but for what has changed."""
        group = self.group
        return replace(
            self._placed,
            sequence=self.published.sequence,
            pieces=self.published.pieces,
            applied=self.applied,
            round=group.round,
            complete=group.complete,
            closed=group.closed,
            close_reason=group.close_reason,
            do_not_restart=group.closed and group.failed,
            finished_round=group.finished_round,
            finished_at=self._finished_at,
            refused_at=self._refused_at,
            failed_round=group.failed_round,
            failed_at=self._failed_at,
            cause=group.cause,
            active=len(group.participants),
            waiting=len(group.waiting),
            spares=len(group.spares),
            lost=len(group.lost),
            changes=group.changes,
            last_call=group.last_call_left(now_s),
        )

    def note_published(self, summary: Summary) -> None:
        """It is written, and so are the seats and refusals."""
        self.published = summary
        self.seats = []
        self.refusals = []

    def _take(self, entry: KeyValue, now_s: float) -> None:
        if entry.key == self._keys.closed:
            self._note_closed(entry)
            closure = closure_in(entry.value)
            self.group.close(closure.reason, 0, closure.do_not_restart)
            return
        name = self._keys.name_of(entry.key)
        if name is None:
            return
        try:
            wish = Wish.decode(entry.value)
            node = node_of(name)
            if wish.kind == "join" and wish.settings is not None:
                self.left.pop(entry.key, None)
                settings = _core.GroupSettings(**wish.settings)
                facts = _core.NodeFacts(**(wish.facts or {}))
                self.group.join(node, settings, wish.after_round, now_s, facts)
                if self._closed_at and not self.group.closed:
                    # A later start of the job has opened it.
                    self.left[self._keys.closed], self._closed_at = self._closed_at, 0
            else:
                if wish.kind == "gave up" and wish.ending is not None:
                    exit_code, unix_ms, line = wish.ending
                    last_line = line.encode("latin-1", "replace")
                    self.group.give_up(
                        node, exit_code, unix_ms, last_line, now_s, wish.do_not_restart
                    )
                else:
                    self.group.leave(node, wish.kind != "left", now_s)
                self.left[entry.key] = entry.mod_revision
        except (RendezvousError, ValueError, TypeError) as error:
            # Also of a node of another version: it must not hold up the others.
            kind: Literal["closed", "failed", "state"] = "state"
            if isinstance(error, RendezvousClosedError):
                kind = "failed" if isinstance(error, RendezvousFailedError) else "closed"
            self.refusals.append(Refusal(name, entry.mod_revision, kind, str(error)))
            self._refused_at = entry.mod_revision
        self._note(entry.mod_revision)

    def _note_closed(self, entry: KeyValue) -> None:
        self._closed_at = entry.mod_revision

    def _note_left(self, entry: KeyValue) -> None:
        """A key whose wish was applied before: if its node went, it is to be cleared away."""
        try:
            if Wish.decode(entry.value).kind != "join":
                self.left[entry.key] = entry.mod_revision
        except RendezvousStateError:
            return

    def _note(self, revision: int) -> None:
        group = self.group
        if group.failed_round and not self._has_failed:
            self._failed_at = revision
        self._has_failed = group.failed_round != 0
        if group.finished_round > self._placed.finished_round:
            self._placed = replace(self._placed, finished_round=group.finished_round)
            self._finished_at = revision
        if group.complete and group.round != self._placed.placed_round:
            nodes = group.participants
            first = nodes[0]
            self.seats = seat_pages(nodes)
            self._placed = replace(
                self._placed,
                placed_round=group.round,
                placed_world=group.world_size,
                placed_first=(first.addr, first.pid, first.local_id),
                pages=len(self.seats),
            )
