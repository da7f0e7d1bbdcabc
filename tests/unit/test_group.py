"""The rulebook as Python sees it: types, units, errors. The rules are tested in C++."""

import math

import pytest

from rendezvous._core import Group, GroupSettings, Node
from rendezvous.errors import RendezvousClosedError, RendezvousStateError

SETTINGS = GroupSettings(2, 3, former_first=False)


def node(name: str, pid: int = 1) -> Node:
    return Node(f"host-{name}", pid, 0)


def joined(names: str, settings: GroupSettings = SETTINGS, now: float = 0.0) -> Group:
    group = Group()
    for name in names:
        group.join(node(name), settings, 0, now)
    return group


def test_node_shows_its_parts() -> None:
    """A node gives back what it was made of, and its repr shows all of it."""
    made = Node("büro-1", 12, 2**64 - 1)
    assert (made.addr, made.pid, made.local_id) == ("büro-1", 12, 2**64 - 1)
    assert repr(made) == f"Node(addr='büro-1', pid=12, local_id={2**64 - 1})"


def test_node_is_a_value() -> None:
    """Equal nodes are one dictionary key; a node equals nothing else."""
    assert node("a") == node("a")
    assert hash(node("a")) == hash(node("a"))
    assert node("a") != node("b")
    assert node("a") != "host-a"
    assert {node("a"): 1}[node("a")] == 1


def test_nodes_sort_naturally() -> None:
    """Digits in addresses compare as numbers, then the process id decides."""
    names = ["host10", "host9", "10.0.0.10", "10.0.0.9", "host01"]
    assert [n.addr for n in sorted(Node(name, 1, 0) for name in names)] == [
        "10.0.0.9",
        "10.0.0.10",
        "host01",
        "host9",
        "host10",
    ]
    assert Node("h", 9, 0) < Node("h", 10, 0) < Node("h", 10, 1)


@pytest.mark.parametrize(
    ("addr", "pid", "local_id", "named"),
    [
        ("", 1, 0, "addr"),
        ("a" * 256, 1, 0, "addr"),
        ("a\nb", 1, 0, "addr"),
        ("a", -1, 0, "pid"),
        ("a", 2**63, 0, "pid"),
        ("a", 1, -1, "local_id"),
        ("a", 1, 2**64, "local_id"),
    ],
)
def test_malformed_node_is_refused(addr: str, pid: int, local_id: int, named: str) -> None:
    """A malformed node is a ValueError that names the part."""
    with pytest.raises(ValueError, match=named):
        Node(addr, pid, local_id)


def test_settings_have_defaults_in_seconds() -> None:
    """Only the counts are required; times are seconds, kept to the millisecond."""
    settings = GroupSettings(2, 4)
    assert (settings.min_nodes, settings.max_nodes) == (2, 4)
    assert settings.last_call_timeout == 30.0
    assert settings.keep_alive_interval == 5.0
    assert settings.keep_alive_max_attempt == 3
    assert GroupSettings(1, 1, last_call_timeout=0.07).last_call_timeout == 0.07
    assert GroupSettings(1, 1, last_call_timeout=1e-9).last_call_timeout == 0.001


def test_settings_are_values() -> None:
    """Settings are equal when all fields are, and show them."""
    assert GroupSettings(2, 4, 1.5) == GroupSettings(2, 4, last_call_timeout=1.5)
    assert GroupSettings(2, 4) != GroupSettings(2, 5)
    assert "max_nodes=4" in repr(GroupSettings(2, 4))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"min_nodes": 0}, "min_nodes"),
        ({"min_nodes": -1}, "min_nodes"),
        ({"max_nodes": 1}, "max_nodes"),
        ({"max_nodes": 131_073}, "max_nodes"),
        ({"max_nodes": 2**40}, "max_nodes"),
        ({"last_call_timeout": 0.0}, "last_call_timeout"),
        ({"last_call_timeout": -1.0}, "last_call_timeout"),
        ({"last_call_timeout": math.nan}, "last_call_timeout"),
        ({"last_call_timeout": math.inf}, "last_call_timeout"),
        ({"keep_alive_interval": 0.0}, "keep_alive_interval"),
        ({"keep_alive_max_attempt": 0}, "keep_alive_max_attempt"),
        ({"keep_alive_max_attempt": -1}, "keep_alive_max_attempt"),
    ],
)
def test_senseless_settings_are_refused(arguments: dict[str, float], named: str) -> None:
    """Senseless settings are a ValueError that names the field."""
    with pytest.raises(ValueError, match=named):
        GroupSettings(**{"min_nodes": 2, "max_nodes": 4, **arguments})  # type: ignore[arg-type]


def test_fresh_group() -> None:
    """A fresh group forms round 1 of nobody."""
    group = Group()
    assert (group.round, group.complete, group.closed) == (1, False, False)
    assert (group.finished_round, group.world_size) == (0, 0)
    assert group.settings is None
    assert group.next_deadline() is None
    assert group.last_call_left(0.0) is None
    assert (group.placement(node("a")).role, group.placement(node("a")).rank) == ("absent", -1)


def test_roles_and_ranks() -> None:
    """Every role has its name, and ranks belong to active and done nodes."""
    group = joined("ab")
    assert group.placement(node("a")).role == "forming"
    assert group.participants == [node("a"), node("b")]
    for name in "dce":
        group.join(node(name), SETTINGS, 0, 0.0)
    assert (group.complete, group.world_size) == (True, 3)
    assert group.spares == [node("c"), node("e")]
    group.leave(node("a"), False, 0.0)
    group.leave(node("b"), True, 0.0)
    assert [
        (group.placement(node(name)).role, group.placement(node(name)).rank) for name in "abcde"
    ] == [("done", 0), ("absent", -1), ("waiting", -1), ("active", 2), ("spare", -1)]
    assert group.participants == [node("d")]
    assert group.waiting == [node("c")]
    assert group.lost == [node("b")]
    assert group.membership_changes(node("d"), 1) == 2
    assert group.world_size == 3
    assert repr(group.placement(node("d"))) == "Placement(role='active', rank=2)"


def test_finished_round_dismisses_waiting_nodes() -> None:
    """When all leave as done, the spare is absent and knows why by finished_round."""
    group = joined("abcd")
    for name in "abc":
        group.leave(node(name), False, 0.0)
    assert (group.finished_round, group.round, group.complete) == (1, 2, False)
    assert group.placement(node("d")).role == "absent"


def test_times_are_seconds() -> None:
    """The last call and the deadlines are told in seconds of the caller's clock."""
    group = joined("ab", now=1000.5)
    assert group.last_call_left(1010.5) == 20.0
    assert group.next_deadline() == 1005.5
    group.keep_alive(node("a"), 1005.5)
    group.keep_alive(node("b"), 1005.5)
    assert group.next_deadline() == 1010.5


@pytest.mark.parametrize("now", [0.1, 1e5 + 0.123456789, 3e7 + 0.123456789])
def test_deadline_is_due_when_it_comes(now: float) -> None:
    """Who asks again exactly at next_deadline() gets on, however large the clock's numbers are."""
    group = joined("ab", GroupSettings(2, 3, 0.1, 0.007, 3), now)
    deadlines = 0
    while (deadline := group.next_deadline()) is not None:
        deadlines += 1
        assert deadlines < 10
        group.expire(deadline)
    assert group.lost == [node("a"), node("b")]


def test_state_travels_as_bytes() -> None:
    """Another group that observes the bytes has the same state and the same bytes."""
    group = joined("abcde")
    other = Group()
    other.observe(group.encode(), 77.0)
    assert other.encode() == group.encode()
    assert other.settings == SETTINGS
    assert other.participants == group.participants
    other.observe(None, 78.0)
    assert other.encode() == Group().encode()


def test_junk_is_a_state_error() -> None:
    """Bytes that are no state raise, say where, and leave the group as it was."""
    group = joined("ab")
    before = group.encode()
    for junk in (b"", b"junk", before[:-1], before + b"\0"):
        with pytest.raises(RendezvousStateError, match="at byte"):
            group.observe(junk, 0.0)
    assert group.encode() == before


def test_other_settings_are_a_state_error() -> None:
    """A node with other settings is told both, and which field differs."""
    with pytest.raises(RendezvousStateError, match="differ in max_nodes;"):
        joined("a").join(node("b"), GroupSettings(2, 4, former_first=False), 0, 0.0)


def test_closed_group_takes_nobody() -> None:
    """Joining a closed group raises RendezvousClosedError and names the node."""
    group = joined("a")
    group.close()
    assert group.closed
    with pytest.raises(RendezvousClosedError, match="host-b"):
        group.join(node("b"), SETTINGS, 0, 0.0)


@pytest.mark.parametrize("after_round", [-1, 2**62 + 1, 2**64])
def test_impossible_round_is_refused(after_round: int) -> None:
    """A round that cannot have been is a ValueError."""
    with pytest.raises(ValueError, match="after_round"):
        Group().join(node("a"), SETTINGS, after_round, 0.0)


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf, 1e12])
def test_impossible_time_is_refused(now: float) -> None:
    """A time that no monotonic clock shows is a ValueError."""
    with pytest.raises(ValueError, match="now"):
        Group().expire(now)
