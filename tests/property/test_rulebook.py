"""Thousands of random schedules, in two of the ways of keeping a run: the promises hold.

By compare-and-set: each node has a rulebook and a clock of its own, over a store in memory. Writes
come late, are repeated, or their answers are lost. By an elected leader: nodes write wishes, the
leader takes them in order, and is followed by another one at any moment. The server's way, with its
core in memory, is in tests/cpp/rulebook_test.cc.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from property.rulebook import Cause, History, given_twice, listed

from rendezvous import HashStore
from rendezvous._core import Group, GroupSettings, Node, NodeFacts
from rendezvous.backends.c10d import C10dRendezvousBackend
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import RunKeys, Summary, Wish, node_name
from rendezvous.backends.etcd.run.leader.book import Book
from rendezvous.errors import RendezvousClosedError, RendezvousStateError

INTERVAL_S = 5.0
LAST_CALL_S = 30.0
STEPS = 60
SCHEDULES = int(os.environ.get("RDZV_SCHEDULES", "400"))
RUN_KEYS = RunKeys("/prefix", "run")
ACTIONS = ("join",) * 8 + ("leave", "fail", "fail", "die", "die", "time", "time", "long")
ENDS = ("close", "verdict", "close")


class Schedule:
    """What happens, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        draw = self.random
        segment = draw.choice((1, 1, 1, 2))
        low = segment * draw.randint(1, 2)
        self.settings = GroupSettings(
            low,
            low + segment * draw.randint(0, 2),
            LAST_CALL_S,
            INTERVAL_S,
            3,
            rank_by=draw.choice(("address", "join", "given", "topology")),
            sticky_ranks=draw.random() < 0.8,
            former_first=draw.random() < 0.7,
            debounce=draw.choice((0.0, 1.0)),
            segment=segment,
        )
        self.nodes = [Node(f"host{number}", 1, 0) for number in range(8, 15)]
        self.facts = {
            node: NodeFacts(
                rank=draw.randrange(self.settings.max_nodes)
                if self.settings.rank_by == "given"
                else None,
                topology=draw.choice(("sw1/r1", "sw1/r2", "sw2/r1")),
            )
            for node in self.nodes
        }
        self.history = History(self.settings, self.facts, self.nodes)
        self.actions = (*ACTIONS, "attempt") if draw.random() < 0.3 else ACTIONS
        self.last_attempt = 0

    def steps(self) -> Iterator[tuple[str, Node]]:
        for _ in range(STEPS):
            yield self.random.choice(self.actions), self.random.choice(self.nodes)
        for _ in range(self.random.choice((0, 0, 1, 2))):
            yield self.random.choice(ENDS), self.nodes[0]
            for _ in range(10):
                yield self.random.choice(self.actions), self.random.choice(self.nodes)

    def asks(self, what: str, node: Node) -> tuple[NodeFacts, str]:
        """What a node brings that joins, and what that is: a join, or a later start of the job."""
        brings = self.history.brings
        if what == "attempt":
            self.last_attempt += 1
        if what == "attempt" or self.random.random() < 0.5:
            brings[node] = self.last_attempt
        attempt = brings.setdefault(node, 0)
        facts = self.facts[node]
        own = NodeFacts(rank=facts.rank, topology=facts.topology, attempt=attempt)
        return own, "attempt" if attempt > self.history.group.attempt else "join"


class InTheNodes:
    """The compare-and-set way."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.backend = C10dRendezvousBackend(HashStore(), "run")
        self.time_s = 0.0
        draw = schedule.random
        self.groups = {node: Group() for node in schedule.nodes}
        self.clocks = {node: draw.uniform(0, 1e6) for node in schedule.nodes}
        # What each node read, and has not yet read anew.
        self.read: dict[Node, tuple[bytes, object] | None] = dict.fromkeys(schedule.nodes)
        self.rounds = dict.fromkeys(schedule.nodes, 0)

    def do(self, what: str, node: Node) -> None:
        history = self.schedule.history
        if what == "time":
            self._pass(self.schedule.random.uniform(0, INTERVAL_S))
        elif what == "long":
            for _ in range(8):
                self._pass(INTERVAL_S)
        elif what == "die":
            history.dead.add(node)
        elif what in ENDS:
            is_final = what == "verdict"
            self._apply(node, (what, node), lambda group, _: group.close("enough", 0, is_final))
        else:
            history.dead.discard(node)
            if what in {"join", "attempt"}:
                self._join(what, node)
            else:
                failed = what == "fail"
                self._apply(node, (what, node), lambda g, now: g.leave(node, failed, now))

    def _join(self, what: str, node: Node) -> None:
        schedule = self.schedule
        after = self.rounds[node]
        schedule.history.asked[node] = after
        facts, is_what = schedule.asks(what, node)

        def operation(group: Group, now: float) -> None:
            group.join(node, schedule.settings, after, now, facts)
            # 12: once more changes nothing.
            once = group.encode()
            group.join(node, schedule.settings, after, now, facts)
            assert group.encode() == once or group.round > after + 1, "12"

        # It may have been silent, and is not any more.
        self._beat(node)
        try:
            self._apply(node, (is_what, node), operation)
        except (RendezvousClosedError, RendezvousStateError):
            return

    def _pass(self, step_s: float) -> None:
        """Everyone alive beats, and looks."""
        self.time_s += step_s
        nodes = list(self.schedule.nodes)
        self.schedule.random.shuffle(nodes)
        for node in nodes:
            if node not in self.schedule.history.dead:
                self._beat(node)

    def _beat(self, node: Node) -> None:
        self._apply(node, ("time", None), lambda group, now: group.keep_alive(node, now))

    def _apply(self, node: Node, cause: Cause, operation: Callable[[Group, float], None]) -> None:
        group, draw = self.groups[node], self.schedule.random
        now = self.time_s + self.clocks[node]
        if draw.random() < 0.7:
            self.read[node] = self.backend.get_state()
        while True:
            found = self.read[node]
            group.observe(None if found is None else found[0], now)
            before = group.encode()
            group.expire(now)
            expired = group.encode()
            operation(group, now)
            changed = group.encode()
            stored = self.backend.get_state()
            answer = self.backend.set_state(changed, None if found is None else found[1])
            assert answer is not None
            state, token, is_written = answer
            self.read[node] = (state, token)
            if not is_written:
                # 11: a write with an old token changes nothing.
                assert stored is not None
                assert state == stored[0]
                continue
            if expired != before:
                self.schedule.history.step(expired, ("time", None))
            self.schedule.history.step(changed, cause)
            if draw.random() < 0.1:
                # The answer is lost: the same once more, with what was read before.
                again = self.backend.set_state(changed, None if found is None else found[1])
                assert again is not None
                assert again[0] == changed
            self._note()
            return

    def _note(self) -> None:
        group = self.schedule.history.group
        for node in self.schedule.nodes:
            if group.placement(node).role == "active":
                self.rounds[node] = group.round


class WithALeader:
    """The leader's way: its book, without etcd."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.time_s = 0.0
        self.revision = 0
        self.keys: dict[bytes, KeyValue] = {}
        self.rounds = dict.fromkeys(schedule.nodes, 0)
        self.summary: Summary | None = None
        self.state: bytes | None = None
        self.book = self._succeed()

    def _succeed(self) -> Book:
        return Book.of(
            RUN_KEYS,
            self.summary,
            self.state,
            list(self.keys.values()),
            self.revision,
            self.time_s,
        )

    def _publish(self) -> None:
        self.summary = self.book.summary(self.time_s)
        self.state = self.book.group.encode()
        self.book.note_published(self.summary)

    def _write(self, node: Node, value: bytes | None, cause: Cause) -> None:
        key = RUN_KEYS.closed if cause[0] in ENDS else RUN_KEYS.node(node_name(node))
        self.revision += 1
        entry = KeyValue(key, value or b"", self.revision)
        if value is None:
            if self.keys.pop(key, None) is None:
                return
        else:
            self.keys[key] = entry
        draw = self.schedule.random
        if draw.random() < 0.15:
            # The leader goes before it takes this; another one begins with what was published.
            self.book = self._succeed()
            self._note(cause)
        else:
            self.book.apply(entry, value is None, self.time_s)
            self._note(cause)
            if draw.random() < 0.2:
                self.book.apply(entry, value is None, self.time_s)  # told twice
                self._note(("time", None))
        # A leader publishes before anybody knows: what was not published has not happened.
        self._publish()

    def do(self, what: str, node: Node) -> None:
        schedule = self.schedule
        if what in {"time", "long"}:
            step_s = schedule.random.uniform(0, INTERVAL_S) if what == "time" else 40.0
            self.time_s += step_s
            self.book.expire(self.time_s)
            self._note(("time", None))
            self._publish()
        elif what == "die":
            schedule.history.dead.add(node)
            self._write(node, None, ("die", node))
        elif what in ENDS:
            value = b"failed broken" if what == "verdict" else b"closed enough"
            self._write(node, value, (what, node))
        else:
            schedule.history.dead.discard(node)
            nonce = str(self.revision)
            if what in {"join", "attempt"}:
                after = self.rounds[node]
                schedule.history.asked[node] = after
                facts, what = schedule.asks(what, node)
                wish = Wish.to_join(after, schedule.settings, facts, nonce)
            elif RUN_KEYS.node(node_name(node)) not in self.keys:
                return
            else:
                wish = Wish("failed" if what == "fail" else "left", nonce)
            self._write(node, wish.encode(), (what, node))

    def _note(self, cause: Cause) -> None:
        self.schedule.history.step(self.book.group.encode(), cause)
        for node in self.schedule.nodes:
            if self.book.group.placement(node).role == "active":
                self.rounds[node] = self.book.group.round


@pytest.mark.parametrize("way", [InTheNodes, WithALeader])
@pytest.mark.parametrize("part", range(4))
def test_the_promises_of_the_rulebook_hold(way: type[InTheNodes | WithALeader], part: int) -> None:
    """Whatever the nodes do, and whatever becomes of messages and keepers."""
    completed = displaced = 0
    for seed in range(part * SCHEDULES // 4, (part + 1) * SCHEDULES // 4):
        schedule = Schedule(seed)
        run = way(schedule)
        try:
            for what, node in schedule.steps():
                run.do(what, node)
                given = schedule.settings.rank_by == "given"
                assert not (given and list(given_twice(schedule.history.group, schedule.facts)))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {schedule.settings}: {error}") from error
        completed += schedule.history.completed
        displaced += schedule.history.displaced
    assert completed > SCHEDULES // 4
    assert displaced > SCHEDULES // 16
    assert listed(Group()) == {}
