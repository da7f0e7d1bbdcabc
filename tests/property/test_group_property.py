"""Whatever observers do to a shared state by compare-and-set, the rulebook keeps its promises."""

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rendezvous._core import Group, GroupSettings, Node
from rendezvous.errors import RendezvousClosedError, RendezvousStateError

NODES = [Node(f"host{number}", 1, 0) for number in (1, 2, 3, 9, 10, 11, 100)]
INTERVAL_S = 5.0


class Observer:
    """One node's view: its own rulebook, its own clock, and the bytes it read last."""

    def __init__(self, clock_offset_s: float) -> None:
        self.group = Group()
        self.clock_offset_s = clock_offset_s
        self.read: bytes | None = None

    def now(self, time_s: float) -> float:
        return time_s + self.clock_offset_s


class SharedGroup(RuleBasedStateMachine):
    """Observers read, apply one operation, and write if nobody wrote meanwhile.

    Who lost that race reads again and applies the operation again, as the handler does.
    """

    observers = Bundle("observers")

    def __init__(self) -> None:
        super().__init__()
        self.stored: bytes | None = None
        self.time_s = 0.0
        self.round = 1
        self.finished_round = 0
        self.complete_at = 0
        self.world_size = 0
        self.was_closed = False

    @initialize(min_nodes=st.integers(1, 4), extra=st.integers(0, 2))
    def choose_settings(self, min_nodes: int, extra: int) -> None:
        self.settings = GroupSettings(min_nodes, min_nodes + extra, 30.0, INTERVAL_S, 3)

    @initialize(target=observers)
    def first_observer(self) -> Observer:
        return Observer(0.0)

    @rule(target=observers, offset=st.floats(0, 1e6))
    def new_observer(self, offset: float) -> Observer:
        return Observer(offset)

    def apply(self, by: Observer, stale: bool, operation: Callable[[Group, float], None]) -> None:
        if not stale:
            self.read(by)
        now = by.now(self.time_s)
        while True:
            by.group.expire(now)
            try:
                operation(by.group, now)
            except RendezvousClosedError:
                assert by.group.closed
            if by.read == self.stored:
                self.stored = by.group.encode()
                by.read = self.stored
                return
            self.read(by)

    @rule(by=observers)
    def read(self, by: Observer) -> None:
        by.group.observe(self.stored, by.now(self.time_s))
        by.read = self.stored
        assert by.group.encode() == (Group().encode() if self.stored is None else self.stored)

    @rule(by=observers, stale=st.booleans(), node=st.sampled_from(NODES), behind=st.integers(-1, 3))
    def join(self, by: Observer, stale: bool, node: Node, behind: int) -> None:
        def operation(group: Group, now: float) -> None:
            after_round = max(0, group.round - behind)
            group.join(node, self.settings, after_round, now)
            before = group.encode()
            assert group.placement(node).role != "absent"
            group.join(node, self.settings, 0, now)
            assert group.encode() == before

        self.apply(by, stale, operation)

    @rule(by=observers, stale=st.booleans(), node=st.sampled_from(NODES))
    def keep_alive(self, by: Observer, stale: bool, node: Node) -> None:
        self.apply(by, stale, lambda group, now: group.keep_alive(node, now))

    @rule(by=observers, stale=st.booleans(), node=st.sampled_from(NODES), failed=st.booleans())
    def leave(self, by: Observer, stale: bool, node: Node, failed: bool) -> None:
        def operation(group: Group, now: float) -> None:
            group.leave(node, failed, now)
            assert group.placement(node).role in ("absent", "done")

        self.apply(by, stale, operation)

    @rule(by=observers, stale=st.booleans())
    def expire(self, by: Observer, stale: bool) -> None:
        def operation(group: Group, now: float) -> None:
            settled = group.encode()
            group.expire(now)
            assert group.encode() == settled
            deadline = group.next_deadline()
            # Clocks are kept in nanoseconds; a float of a million seconds is not that exact.
            assert deadline is None or now - 1e-6 < deadline < now + INTERVAL_S + 1e-6

        self.apply(by, stale, operation)

    @precondition(lambda self: self.time_s > 100)
    @rule(by=observers, stale=st.booleans())
    def close(self, by: Observer, stale: bool) -> None:
        self.apply(by, stale, lambda group, now: group.close())

    @rule(step_s=st.one_of(st.floats(0, INTERVAL_S), st.floats(0, 100)))
    def time_passes(self, step_s: float) -> None:
        self.time_s += step_s

    @invariant()
    def promises_hold(self) -> None:
        group = Group()
        group.observe(self.stored, 0.0)
        assert self.stored is None or group.encode() == self.stored
        check_lists(group)
        check_round(group)
        assert group.round >= self.round
        assert group.finished_round >= self.finished_round
        if group.complete and group.round == self.complete_at:
            assert group.world_size == self.world_size
        if group.complete:
            self.complete_at, self.world_size = group.round, group.world_size
        self.round, self.finished_round = group.round, group.finished_round
        assert group.closed or not self.was_closed
        self.was_closed = group.closed


def check_lists(group: Group) -> None:
    listed = [*group.participants, *group.waiting, *group.spares]
    assert len(set(listed)) == len(listed)
    for node in NODES:
        role = group.placement(node).role
        assert (node in group.participants) == (role in ("forming", "active"))
        assert (node in group.waiting) == (role == "waiting")
        assert (node in group.spares) == (role == "spare")
    ranks = [group.placement(node).rank for node in NODES]
    given = [rank for rank in ranks if rank >= 0]
    assert len(set(given)) == len(given)
    assert all(rank < group.world_size for rank in given)
    assert [group.placement(node).rank for node in group.participants] == sorted(
        group.placement(node).rank for node in group.participants
    )


def check_round(group: Group) -> None:
    roles = [group.placement(node).role for node in NODES]
    if group.settings is None:
        assert roles == ["absent"] * len(NODES)
        return
    low, high = group.settings.min_nodes, group.settings.max_nodes
    forming = roles.count("forming")
    taken = roles.count("active") + roles.count("done")
    if group.complete:
        assert low <= group.world_size <= high
        assert forming == 0
        assert roles.count("active") > 0
        assert taken + roles.count("waiting") <= high
        # Places are kept for former members that failed.
        assert not group.spares or group.lost or taken + roles.count("waiting") == high
    else:
        assert group.world_size == 0
        assert taken == 0
        assert not group.waiting
        assert not group.spares
        assert forming < high or group.lost
    last_call = group.last_call_left(0.0) is not None
    assert last_call == (not group.complete and low <= forming)
    if group.closed:
        assert forming == 0
        assert not group.waiting
        assert not group.spares


SharedGroup.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestSharedGroup = SharedGroup.TestCase


@settings(deadline=None)
@given(
    nodes=st.integers(1, 30),
    min_nodes=st.integers(1, 30),
    extra=st.integers(0, 10),
    order=st.randoms(use_true_random=False),
    offsets=st.lists(st.floats(0, 1e6), min_size=1, max_size=4),
)
def test_nodes_that_join_and_stay_get_ranks(
    nodes: int, min_nodes: int, extra: int, order: Random, offsets: list[float]
) -> None:
    """If enough nodes join and none leaves, the first max_nodes of them get ranks."""
    min_nodes = min(min_nodes, nodes)
    agreed = GroupSettings(min_nodes, min_nodes + extra, 30.0, INTERVAL_S, 3)
    everyone = [Node(f"host{number}", 1, 0) for number in range(nodes)]
    order.shuffle(everyone)
    observers = [Observer(offset) for offset in offsets]
    stored: bytes | None = None
    for step in range(9):
        time_s = step * INTERVAL_S
        for number, node in enumerate(everyone):
            by = observers[(number + step) % len(observers)]
            now = by.now(time_s)
            by.group.observe(stored, now)
            by.group.expire(now)
            by.group.join(node, agreed, 0, now)
            by.group.keep_alive(node, now)
            stored = by.group.encode()
    group = Group()
    group.observe(stored, 0.0)
    assert (group.round, group.complete, group.lost) == (1, True, [])
    chosen = sorted(everyone[: agreed.max_nodes])
    assert group.participants == chosen
    assert [group.placement(node).rank for node in chosen] == list(range(len(chosen)))
    assert group.spares == everyone[agreed.max_nodes :]


@given(st.binary(max_size=400))
def test_bytes_are_a_state_or_refused(junk: bytes) -> None:
    """Arbitrary bytes raise, or are what they encode to again; nothing else happens."""
    group = Group()
    try:
        group.observe(junk, 0.0)
    except RendezvousStateError:
        assert group.encode() == Group().encode()
    else:
        assert group.encode() == junk
