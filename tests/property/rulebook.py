"""The promises of docs/rulebook.md, held against one history of states of a run.

A history tells each state that is stored, as it comes, and what led to it. Numbers in the messages
are those of the page's sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rendezvous._core import Group, GroupSettings, Node, NodeFacts

# What may lead to a state: by time alone; one operation of one node; a takeover by another keeper.
Cause = tuple[str, Node | None]


def listed(group: Group) -> dict[Node, str]:
    """The part of each node that has one, as far as the group's lists tell."""
    nodes = [*group.participants, *group.waiting, *group.spares]
    return {node: group.placement(node).role for node in nodes}


@dataclass
class History:
    """One run's.

    Attributes:
        facts: what each node brings.
        dead: nodes that send no signs of life.
        brings: which start of the job each node belongs to when it asks.
    """

    settings: GroupSettings
    facts: dict[Node, NodeFacts]
    everyone: list[Node]
    dead: set[Node] = field(default_factory=set)
    asked: dict[Node, int] = field(default_factory=dict)
    brings: dict[Node, int] = field(default_factory=dict)
    attempts: dict[Node, int] = field(default_factory=dict)
    displaced: int = 0
    group: Group = field(default_factory=Group)
    _ranks: dict[Node, int] = field(default_factory=dict)
    _last_round: dict[Node, int] = field(default_factory=dict)
    _held: dict[Node, int] = field(default_factory=dict)
    completed: int = 0

    def step(self, state: bytes, cause: Cause) -> None:
        """The next state of the history."""
        group = Group()
        group.observe(state, 0.0)
        before, self.group = self.group, group
        self._parts(group)
        self._starts(before, group, cause)
        assert group.round >= before.round, "2: rounds only grow"
        is_new = group.complete and (not before.complete or group.round != before.round)
        self._displaced(before, group, cause, is_new)
        self._forget(before, group, cause)
        if is_new:
            self._began(before, group, cause)
        elif group.complete:
            self._goes_on(group)
        if group.closed:
            roles = set(listed(group).values())
            assert roles <= {"active", "done"}, "9: a closed run takes no node"
            is_later = cause[0] == "attempt"
            assert not is_new or not before.closed or is_later, "9: a closed run completes no round"
        if before.closed and before.failed and cause[0] != "attempt":
            assert group.closed, "28: a verdict does not go away"
            assert group.failed, "28: a verdict does not go away"
        if cause[0] == "verdict":
            assert group.failed, "28: a verdict is known at once"

    def _starts(self, before: Group, group: Group, cause: Cause) -> None:
        """26: nodes of one start of the job alone are listed."""
        what, who = cause
        if who is not None and what in {"join", "attempt"}:
            self.attempts[who] = self.brings[who]
        for node in listed(group):
            assert self.attempts[node] == group.attempt, f"26: {node} is of another attempt"
        if what == "attempt":
            self.displaced += len(listed(before))

    def _forget(self, before: Group, group: Group, cause: Cause) -> None:
        """Who went by itself is a newcomer from then on."""
        if cause[0] == "attempt":
            self._held = {}
        for node, role in listed(before).items():
            went = group.placement(node).role == "absent"
            if went and (
                role in {"waiting", "spare"} or (role == "forming" and cause[0] == "leave")
            ):
                self._held.pop(node, None)
        present = {*listed(group), *group.lost}
        present |= {node for node in self._ranks if group.placement(node).role == "done"}
        self._held = {node: rank for node, rank in self._held.items() if node in present}

    def _parts(self, group: Group) -> None:
        lists = [*group.participants, *group.waiting, *group.spares]
        assert len(set(lists)) == len(lists), "1: each node is in one part"
        low, high, segment = (
            self.settings.min_nodes,
            self.settings.max_nodes,
            self.settings.segment,
        )
        if group.complete:
            assert low <= group.world_size <= high, "3: the size of a round"
            assert group.world_size % segment == 0, "3: a multiple of segment"
            assert group.participants, "8: a round has an active node"
            roles = [group.placement(node).role for node in self.everyone]
            taken = roles.count("active") + roles.count("done") + len(group.waiting)
            assert taken <= high, "14: places"
            may_be_kept = self.settings.former_first and group.lost
            if segment == 1 and not may_be_kept:
                assert taken == high or not group.spares, "14: a free place is given"
        elif segment == 1 and not (self.settings.former_first and group.lost):
            assert len(group.participants) < high, "6: max_nodes complete a round"
        if group.lost:
            assert group.changes == len(group.waiting) + len(group.lost), "24: told at once"

    def _displaced(self, before: Group, group: Group, cause: Cause, is_new: bool) -> None:
        """13: who had a place has one, unless it or the run went."""
        what, who = cause
        if what in {"close", "verdict", "attempt"} or group.finished_round != before.finished_round:
            return
        if group.failed_round != before.failed_round:
            return
        for node, role in listed(before).items():
            if role not in {"forming", "active", "waiting"} or node == who:
                continue
            now = group.placement(node).role
            if now == "absent":
                assert node in self.dead, f"13: {node} lost its place"
            elif now == "spare":
                assert role != "active", f"13: {node} was displaced from a running round"
                assert node not in self._held or is_new, f"15: {node} is a former member"

    def _began(self, before: Group, group: Group, cause: Cause) -> None:
        """A round is complete."""
        self.completed += 1
        nodes = group.participants
        ranks = {node: group.placement(node).rank for node in nodes}
        assert [ranks[node] for node in nodes] == list(range(group.world_size)), "4: a bijection"
        here = {*listed(before), *([] if cause[1] is None else [cause[1]])}
        for node in nodes:
            assert node in here, f"5: {node} was not there"
            assert group.round > self.asked[node], f"7: {node} did not ask for it"
        self._takes_former_first(before, group)
        self._keeps_ranks(ranks)
        self._follows_policy(nodes)
        self._ranks, self._held = dict(ranks), dict(ranks)

    def _takes_former_first(self, before: Group, group: Group) -> None:
        """16: nobody new has a place that a former member, who is there, does not have."""
        if self.settings.segment > 1 or not self.settings.former_first:
            return
        left_out = [node for node in group.spares if node in self._held]
        new = [node for node in group.participants if node not in self._held]
        assert not (left_out and new), f"16: {left_out} stay out for {new}"

    def _keeps_ranks(self, ranks: dict[Node, int]) -> None:
        """17 and 18."""
        if self.settings.rank_by == "given":
            for node, rank in ranks.items():
                given = self.facts[node].rank
                assert given is not None
                assert rank == given or given >= len(ranks), f"20: {node} has rank {rank}"
        elif self.settings.sticky_ranks and self.settings.rank_by != "topology":
            for node, rank in self._held.items():
                if node in ranks and rank < len(ranks):
                    assert ranks[node] == rank, f"17: {node} had {rank} and has {ranks[node]}"

    def _follows_policy(self, nodes: list[Node]) -> None:
        if self.settings.rank_by == "topology":
            keys = [self.facts[node].topology for node in nodes]
            begins = [i for i, key in enumerate(keys) if i == 0 or keys[i - 1] != key]
            assert len(begins) == len(set(keys)), f"21: {keys}"
            assert all(i % self.settings.segment == 0 for i in begins), f"22: {keys}"
            for key in set(keys):
                assert keys.count(key) % self.settings.segment == 0, f"22: {keys}"
        is_anew = not self.settings.sticky_ranks or not any(node in self._held for node in nodes)
        if self.settings.rank_by == "address" and is_anew:
            assert nodes == sorted(nodes), "19: natural order"
        if self.settings.rank_by == "address":
            new = [node for node in nodes if node not in self._held]
            if self.settings.sticky_ranks and all(
                rank < len(nodes) for node, rank in self._held.items() if node in nodes
            ):
                assert new == sorted(new), "19: newcomers in natural order"

    def _goes_on(self, group: Group) -> None:
        for node in self.everyone:
            placement = group.placement(node)
            if placement.role in {"active", "done"}:
                assert self._ranks[node] == placement.rank, "4: ranks do not change"


def given_twice(group: Group, facts: dict[Node, NodeFacts]) -> Iterable[int]:
    """20: given ranks that two listed nodes have."""
    seen: set[int] = set()
    for node, role in listed(group).items():
        rank = facts[node].rank
        if rank is not None and role != "done":
            if rank in seen:
                yield rank
            seen.add(rank)
