"""Who is missing in a run: by what a launcher expects, by the last round, by gaps in the names.

For the log of a node that waits, its error, and `rendezvous status`. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rendezvous._base.host_names import gaps_in, join_names, natural_key
from rendezvous._base.text import node_text
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.run_view import RunView

__all__ = ["GAP", "LOST", "Missing", "MissingNodes", "find_missing"]

LOST = "joined, and was lost"
GAP = "by a gap in the names"


@dataclass(frozen=True)
class MissingNodes:
    """Some that are missing for one reason.

    Attributes:
        names: in natural order.
        how: how far they got.
        is_sure: they are expected, or took part before; otherwise only the names suggest them.
    """

    names: tuple[str, ...]
    how: str
    is_sure: bool = True

    def __str__(self) -> str:
        return f"{join_names(self.names)} ({self.how})"


@dataclass(frozen=True)
class Missing:
    """Of a run at one moment.

    Attributes:
        count: how many are missing.
        groups: those that have names. Likely ones may be more than are missing.
        unnamed: how many have none.
    """

    count: int = 0
    groups: tuple[MissingNodes, ...] = ()
    unnamed: int = 0

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def sure(self) -> list[str]:
        """The names of those that are known to be missing."""
        return [name for group in self.groups if group.is_sure for name in group.names]

    @property
    def likely(self) -> list[str]:
        """The names of those that only may be missing."""
        return [name for group in self.groups if not group.is_sure for name in group.names]

    @property
    def gaps(self) -> list[str]:
        """The names that only stand in a gap."""
        return [name for group in self.groups if group.how == GAP for name in group.names]

    def text(self) -> str:
        """In half a line; empty if nobody is missing."""
        if not self:
            return ""
        parts = []
        if sure := [str(group) for group in self.groups if group.is_sure]:
            parts.append(f"missing: {', '.join(sure)}")
        if likely := [str(group) for group in self.groups if not group.is_sure]:
            parts.append(f"likely missing: {', '.join(likely)}")
        if self.unnamed:
            more = "more " if parts else ""
            what = (
                "node is missing whose name is"
                if self.unnamed == 1
                else ("nodes are missing whose names are")
            )
            parts.append(f"{self.unnamed} {more}{what} not known")
        return "; ".join(parts)


def find_missing(view: RunView, expected: Expected, names: Sequence[str] = ()) -> Missing:
    """Who is missing in the round that forms, or was lost in the one that runs.

    Args:
        expected: may expect nothing: then as many as the run needs at least.
        names: of nodes that are known to be there under other names than their own.
    """
    lost = _lost_names(view)
    here = [node.addr for node in view.participants]
    if view.complete:
        wanted = view.counts.participants + view.counts.lost
    else:
        least = view.settings.min_nodes if view.settings else 0
        wanted = max(expected.count, least)
    count = wanted - view.counts.participants
    is_cut = view.counts.participants > len(here)
    groups: list[MissingNodes] = []
    if expected.names and not is_cut and not view.complete:
        present = list(view.participants)
        groups = [
            MissingNodes(tuple(sorted(who, key=natural_key)), how)
            for how, who in expected.missing_by_how(present, view.lost, view.hosts).items()
        ]
        count = max(count, sum(len(group.names) for group in groups))
    if count <= 0:
        return Missing()
    named = {name for group in groups for name in group.names}
    # Of the last round, or of this one: who is back, or expected, is told already.
    lost = [name for name in lost if name not in named and name not in here]
    if lost and len(named) < count:
        groups.append(MissingNodes(tuple(lost), LOST))
        named.update(lost)
    left = count - len(named)
    # Of hosts that have other nodes: perhaps one of those has come in its place.
    beside = [node_text(node) for node in view.lost if node.addr in here]
    if beside and left > 0:
        groups.append(MissingNodes(tuple(beside), LOST, is_sure=False))
        left -= len(beside)
    likely: list[str] = []
    if left > 0 and not is_cut and not view.complete:
        likely = [name for name in gaps_in({*here, *named, *names}) if name not in named]
    if likely:
        groups.append(MissingNodes(tuple(likely), GAP, is_sure=False))
    return Missing(count, tuple(groups), max(0, left - len(likely)))


def _lost_names(view: RunView) -> list[str]:
    return sorted({node.addr for node in view.lost}, key=natural_key)
