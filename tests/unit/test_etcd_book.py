"""The leader's book of a run on etcd: what a successor makes of what is written. No etcd needed."""

from __future__ import annotations

import random

import pytest

from rendezvous import RendezvousStateError, _core
from rendezvous.backends.etcd.client.wire import KeyValue
from rendezvous.backends.etcd.run.keys import (
    RunKeys,
    Summary,
    Wish,
    node_name,
    node_of,
    page_of,
    rank_on,
    seat_pages,
    state_of,
    state_pieces,
)
from rendezvous.backends.etcd.run.leader.book import Book

KEYS = RunKeys("/prefix", "a/run")
SETTINGS = _core.GroupSettings(2, 4, 3600.0)
NODES = [_core.Node(f"host{number}", 1, number) for number in range(8)]


def wish(node: _core.Node, kind: str, revision: int, after_round: int = 0) -> KeyValue:
    made = Wish.to_join(after_round, SETTINGS, _core.NodeFacts(), str(revision))
    value = made if kind == "join" else Wish(kind, str(revision))
    return KeyValue(KEYS.node(node_name(node)), value.encode(), revision)


def book_of(*entries: KeyValue) -> Book:
    return Book.of(KEYS, None, None, entries, max((e.mod_revision for e in entries), default=0), 0)


@pytest.mark.parametrize("addr", ["host", "10.0.0.1", "fd00::5", "a/b.c%2e", "h\u00f6st"])
def test_a_nodes_name_says_all_of_it(addr: str) -> None:
    """And holds no slash, so that one node's key is never below another's."""
    node = _core.Node(addr, 7, 2**62)
    assert node_of(node_name(node)) == node
    assert "/" not in node_name(node)


def test_wish_summary_and_state_come_back_as_they_were() -> None:
    """Settings are equal after the trip, or nobody could join."""
    rules = {"rank_by": "topology", "sticky_ranks": False, "former_first": False}
    agreed = _core.GroupSettings(2, 8, 0.1, 0.7, 11, **rules, debounce=0.5, segment=2)
    facts = _core.NodeFacts(3, "switch1/rack2", 7)
    made = Wish.to_join(3, agreed, facts, "n")
    again = Wish.decode(made.encode())
    assert again == made
    assert again.settings is not None
    assert _core.GroupSettings(**again.settings) == agreed
    assert again.facts is not None
    assert _core.NodeFacts(**again.facts) == facts
    summary = Summary(sequence=4, placed_first=("a", 1, 2), last_call=0.5)
    assert Summary.decode(summary.encode()) == summary
    state = random.Random(1).randbytes(2_000_000)
    assert len(state_pieces(state)) > 1
    assert state_of(state_pieces(state)) == state


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"kind":1}'])
def test_what_is_none_of_ours_is_a_state_error(data: bytes) -> None:
    """Whoever reads it is told, and nothing else is raised."""
    for decode in (Wish.decode, Summary.decode):
        if decode is Wish.decode or data != b"{}":
            with pytest.raises(RendezvousStateError):
                decode(data)


def test_every_rank_is_on_its_nodes_page() -> None:
    """A node finds its seat without reading the others'."""
    nodes = [_core.Node("h", 1, number) for number in range(1000)]
    pages = seat_pages(nodes)
    assert len(pages) > 1
    names = [node_name(node) for node in nodes]
    seats = [rank_on(pages[page_of(name, len(pages))], name) for name in names]
    # With its neighbours, in a ring.
    around = zip([nodes[-1], *nodes], nodes, [*nodes[1:], nodes[0]], strict=False)
    assert seats == [(rank, a, c) for rank, (a, _, c) in enumerate(around)]


def test_a_wish_that_the_group_refuses_is_answered_and_changes_nothing() -> None:
    """With the reason."""
    book = book_of(wish(NODES[0], "join", 1))
    other = Wish.to_join(0, _core.GroupSettings(3, 4, 3600.0), _core.NodeFacts(), "x")
    book.apply(KeyValue(KEYS.node(node_name(NODES[1])), other.encode(), 2), False, 0)
    [refusal] = book.refusals
    assert (refusal.name, refusal.revision) == (node_name(NODES[1]), 2)
    assert "other settings" in refusal.text
    assert book.group.participants == [NODES[0]]


def test_a_key_of_another_version_holds_up_nobody() -> None:
    """It is refused, and the others go on."""
    broken = KeyValue(KEYS.node(node_name(NODES[1])), b"?", 2)
    settings = b'{"kind":"join","nonce":"","after_round":0,"settings":["x",1,1,1,1]}'
    worse = KeyValue(KEYS.node(node_name(NODES[2])), settings, 3)
    book = book_of(wish(NODES[0], "join", 1), broken, worse)
    book.apply(KeyValue(KEYS.node("no name"), b"", 4), True, 0)
    assert len(book.refusals) == 2
    assert book.group.participants == [NODES[0]]


def test_a_node_whose_key_vanished_while_nobody_led_is_lost() -> None:
    """One that had said that it goes is done."""
    book = book_of(*(wish(node, "join", number + 1) for number, node in enumerate(NODES[:4])))
    assert book.group.complete
    state, summary = book.group.encode(), book.summary(0)
    left = [wish(NODES[0], "join", 1), wish(NODES[1], "join", 2), wish(NODES[2], "left", 9)]
    successor = Book.of(KEYS, summary, state, left, 12, 0)
    assert successor.group.lost == [NODES[3]]
    assert successor.group.placement(NODES[2]).role == "done"
    assert successor.group.participants == NODES[:2]
    assert list(successor.left) == [KEYS.node(node_name(NODES[2]))]


@pytest.mark.parametrize("seed", range(40))
def test_a_successor_goes_on_as_the_leader_would_have(seed: int) -> None:
    """Whenever the last publication was: what came after it is read from the nodes' keys, as long
    as no node wrote twice since then."""
    rng = random.Random(seed)
    leader = book_of()
    kept: dict[bytes, KeyValue] = {}
    state, summary = leader.group.encode(), leader.summary(0)
    since: set[bytes] = set()
    for revision in range(1, 60):
        node = rng.choice(NODES)
        group = leader.group
        role = group.placement(node).role
        kind = rng.choice(["join", "join", "left", "failed"]) if role != "absent" else "join"
        entry = wish(node, kind, revision, group.round if role in ("active", "done") else 0)
        if entry.key in since or leader.is_urgent or rng.random() < 0.1:
            summary, state = leader.summary(0), group.encode()
            leader.note_published(summary)
            since = set()
        since.add(entry.key)
        kept[entry.key] = entry
        leader.apply(entry, False, 0)
        successor = Book.of(KEYS, summary, state, kept.values(), revision, 0)
        assert successor.group.encode() == leader.group.encode()
        assert successor.summary(0) == leader.summary(0)
