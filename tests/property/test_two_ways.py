"""One history, two ways to run the rulebook: in the nodes, by compare-and-set, and in the server.

The nodes of the one side are rulebooks of their own over one encoded state, the nodes of the other
are clients of a real server. After each step that settles, both sides must have every node in the
same part, with the same rank, in the same round. Nothing waits for real time: whoever shall expire
does so at once on the one side, and is waited for on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.background import Background, eventually

from rendezvous import Server, TCPStore
from rendezvous._core import Group, GroupSettings, Node, RunClient, RunJoined
from rendezvous.errors import RendezvousClosedError

NODES = [Node(f"host{number}", 1, 0) for number in (1, 2, 10, 11)]
LONG_S = 600.0
# role, rank, and, of a round that is complete, its number and size and what has changed since
Place: TypeAlias = tuple[str, int, int, int, int]


class InTheNodes:
    """The compare-and-set way: each node reads, applies the rulebook and writes back."""

    def __init__(self, rules: GroupSettings) -> None:
        self._rules = rules
        self._state: bytes | None = None
        self._groups = {node: Group() for node in NODES}
        self._rounds = dict.fromkeys(NODES, 0)

    def _apply(self, node: Node, operation: Callable[[Group], None]) -> None:
        group = self._groups[node]
        group.observe(self._state, 0.0)
        operation(group)
        self._state = group.encode()

    def _note_rounds(self) -> None:
        group = self._groups[NODES[0]]
        group.observe(self._state, 0.0)
        for node in NODES:
            if group.placement(node).role == "active":
                self._rounds[node] = group.round

    def join(self, node: Node) -> None:
        def operation(group: Group) -> None:
            group.join(node, self._rules, self._rounds[node], 0.0)

        self._apply(node, operation)
        self._note_rounds()

    def leave(self, node: Node, failed: bool) -> None:
        self._apply(node, lambda group: group.leave(node, failed, 0.0))
        self._note_rounds()

    def die(self, node: Node) -> None:
        """The others find that the node's heartbeat stands still."""
        witness = next(other for other in NODES if other != node)
        group = self._groups[witness]
        # In steps of an interval, because a longer gap counts only one toward anybody's death.
        for step in range(5):
            group.observe(self._state, step * LONG_S)
            for other in NODES:
                if other != node:
                    group.keep_alive(other, step * LONG_S)
            group.expire(step * LONG_S)
            self._state = group.encode()
        # A clock that goes back would count as standing still.
        for each in NODES:
            self._groups[each] = Group()
        self._note_rounds()

    def close(self) -> None:
        self._apply(NODES[0], lambda group: group.close())

    def round_of(self, node: Node) -> int:
        return self._rounds[node]

    def places(self) -> dict[Node, Place]:
        group = self._groups[NODES[0]]
        group.observe(self._state, 0.0)
        return {node: self._place(group, node) for node in NODES}

    def _place(self, group: Group, node: Node) -> Place:
        placement = group.placement(node)
        if placement.role != "active":
            return placement.role, placement.rank, 0, 0, 0
        changes = group.membership_changes(node, group.round)
        return placement.role, placement.rank, group.round, group.world_size, changes


@dataclass
class Member:
    """A node of the server's side. A node that died and comes back is a new one."""

    client: RunClient
    joining: Background[RunJoined] | None = None


def joined(client: RunClient, after_round: int) -> RunJoined:
    """As a handler joins: again, when it has become a spare, or is none any more."""
    answer = client.join(after_round, LONG_S)
    while answer.outcome in ("spare", "no spare"):
        answer = client.join(after_round, LONG_S, answer.outcome == "spare")
    return answer


class InTheServer:
    """The server's way: JOINs that wait, each on the node's own connection."""

    def __init__(self, rules: GroupSettings, store: TCPStore, run_id: str) -> None:
        self._rules = rules
        self._store = store
        self._run_id = run_id
        self._members: dict[Node, Member] = {}
        self._eyes = {node: self._client(node) for node in NODES}

    def _client(self, node: Node) -> RunClient:
        # Whoever loses its connection is lost at once.
        return RunClient(self._store, self._run_id, node, self._rules, grace=0.001)

    def join(self, node: Node, after_round: int) -> None:
        member = self._members.setdefault(node, Member(self._client(node)))
        before = self._eyes[node].status(60).role
        joining = Background(joined, member.client, after_round)
        member.joining = joining

        def is_listed() -> bool:
            # A participant that asks for another round changes its part.
            return self._eyes[node].status(60).role not in ("absent", "done", before)

        eventually("the join", lambda: not joining.running or is_listed())

    def leave(self, node: Node, failed: bool) -> None:
        if node in self._members:
            self._members[node].client.leave(failed, 60)

    def die(self, node: Node) -> None:
        member = self._members.pop(node, None)
        if member is None:
            return
        role = self._eyes[node].status(60).role
        member.client.close()
        if role not in ("absent", "done"):
            eventually("the loss", lambda: self._eyes[node].status(60).role == "absent")

    def close(self) -> None:
        self._eyes[NODES[0]].close_run(60)

    def places(self) -> dict[Node, Place]:
        return {node: self._place(node) for node in NODES}

    def _place(self, node: Node) -> Place:
        status = self._eyes[node].status(60)
        if status.role != "active":
            return status.role, status.rank, 0, 0, 0
        return status.role, status.rank, status.round, status.world_size, status.changes

    def check_refused(self, node: Node) -> None:
        """The node's last JOIN was, because the run is closed."""
        joining, self._members[node].joining = self._members[node].joining, None
        assert joining is not None
        with pytest.raises(RendezvousClosedError):
            joining.result()

    def check_answers(self, places: dict[Node, Place]) -> None:
        """Every JOIN of a node with a rank was answered, with just that; no other of those that
        wait was."""
        for node, (role, rank, round_number, world_size, _) in places.items():
            member = self._members.get(node)
            if member is None or member.joining is None:
                continue
            if role == "active":
                joined = member.joining.result()
                got = (joined.outcome, joined.round, joined.rank, joined.world_size)
                assert got == ("placed", round_number, rank, world_size)
            elif role in ("forming", "waiting", "spare"):
                assert member.joining.running

    def shut_down(self) -> None:
        for member in self._members.values():
            member.client.close()
        for eye in self._eyes.values():
            eye.close()


Step: TypeAlias = tuple[str, Node]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join"] * 5 + ["leave", "fail", "die", "close"]),
        st.sampled_from(NODES),
    ),
    max_size=20,
)


def _play(steps: list[Step], nodes: InTheNodes, server: InTheServer) -> None:
    is_closed = False
    for what, node in steps:
        role = nodes.places()[node][0]
        if what == "join":
            # One that waits already would only ask again.
            if role in ("forming", "waiting", "spare"):
                continue
            server.join(node, nodes.round_of(node))
            if is_closed:
                with pytest.raises(RendezvousClosedError):
                    nodes.join(node)
                server.check_refused(node)
                continue
            nodes.join(node)
        elif what == "close":
            is_closed = True
            nodes.close()
            server.close()
        elif what == "die":
            nodes.die(node)
            server.die(node)
        else:
            nodes.leave(node, failed=what == "fail")
            server.leave(node, failed=what == "fail")
        places = nodes.places()
        assert server.places() == places, f"after {what} of {node}"
        server.check_answers(places)


@settings(deadline=None, max_examples=60)
@given(steps=_STEPS, nodes_min=st.integers(1, 3), extra=st.integers(0, 2))
def test_the_same_history_ends_the_same_in_the_nodes_and_in_the_server(
    steps: list[Step], nodes_min: int, extra: int
) -> None:
    """Placements, rounds, world sizes and changes of membership agree after every step."""
    rules = GroupSettings(nodes_min, nodes_min + extra, 100 * LONG_S, LONG_S, 3)
    with Server() as keeper:
        store = TCPStore("127.0.0.1", keeper.port, timeout=60)
        server = InTheServer(rules, store, "run")
        try:
            _play(steps, InTheNodes(rules), server)
        finally:
            server.shut_down()
            store.close()
