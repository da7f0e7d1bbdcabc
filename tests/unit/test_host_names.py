"""Names of hosts, folded for people; and who is missing among them."""

from __future__ import annotations

import random

import pytest

from rendezvous import _core
from rendezvous._base.host_list import expand_hosts
from rendezvous._base.host_names import count_names, fold_hosts, gaps_in, join_names, natural_key
from rendezvous._coordination.expected import Expected
from rendezvous._coordination.missing import find_missing
from rendezvous._coordination.run_view import Counts, RunView

GPU = [f"gpu-node-{number:03}" for number in range(64)]


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([name for name in GPU if name[-3:] not in {"017", "040"}],
         ["gpu-node-[000-016,018-039,041-063]"]),
        (["host2", "host10", "host1", "login"], ["host[1-2,10]", "login"]),
        (["n8", "n9", "n10"], ["n[8-10]"]),
        (["n08", "n09", "n10"], ["n[08-10]"]),
        (["n8", "n09", "n10"], ["n[8,09-10]"]),
        (["x1.c1.local", "x2.c1.local", "y.c1.local"], ["x[1-2].c1.local", "y.c1.local"]),
        (["10.0.1.7", "10.0.1.8", "10.0.2.7"], ["10.0.1.[7-8]", "10.0.2.7"]),
        (["a1", "a1"], ["a1"]),
        ([], []),
    ],
)  # fmt: skip
def test_names_are_folded_into_ranges(names: list[str], folded: list[str]) -> None:
    """By the number that makes the longest series, in natural order."""
    assert fold_hosts(names) == folded


def test_what_is_folded_expands_again_to_the_same_names() -> None:
    """Of any names with numbers in them, as wide as they are written."""
    chance = random.Random(7)
    for _ in range(300):
        names = set()
        for _ in range(chance.randrange(40)):
            before, after = chance.choice(["a", "rack1-b", "10.0."]), chance.choice(["", ".c2"])
            names.add(f"{before}{chance.randrange(130):0{chance.choice([1, 2, 3])}}{after}")
        again = [name for text in fold_hosts(names) for name in expand_hosts(text)]
        assert sorted(again) == sorted(names)


def test_names_that_do_not_fold_are_cut_and_counted() -> None:
    """A line stays a line."""
    text = join_names(f"pod-{letter}{other}" for letter in "abcdefghij" for other in "abcdefghij")
    assert text.endswith(" and 52 more")
    assert text.startswith("pod-aa, pod-ab, ")


def test_nodes_of_one_host_are_counted() -> None:
    """Hosts with the same number of nodes stand together."""
    assert count_names(["n1", "n2", "n1", "n2", "m"]) == "m, n[1-2] (2 nodes each)"
    assert count_names(["n1"] * 3) == "n1 (3 nodes)"


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        (["n1", "n2", "n4"], ["n3"]),
        (["n08", "n10"], ["n09"]),
        (["n1", "n100"], []),
        (["login", "n1"], []),
        (["r1n1", "r1n3", "r2n1"], ["r1n2"]),
    ],
)
def test_gaps_in_numbered_names(names: list[str], gaps: list[str]) -> None:
    """Only where the numbers count something."""
    assert gaps_in(names) == gaps


def test_the_order_is_natural() -> None:
    """Host2 before host10, whatever is mixed."""
    assert sorted(["h10", "h2", "h", "h02", "9"], key=natural_key) == ["9", "h", "h02", "h2", "h10"]


def _view(
    here: list[str], least: int, lost: tuple[str, ...] = (), hosts: dict[str, str] | None = None
) -> RunView:
    nodes = tuple(_core.Node(name, 1, 0) for name in here)
    gone = tuple(_core.Node(name, 1, 0) for name in lost)
    return RunView(
        "server",
        1,
        settings=_core.GroupSettings(least, least),
        participants=nodes,
        lost=gone,
        counts=Counts(participants=len(nodes), lost=len(gone)),
        hosts=hosts or {},
    )


ABSENT = {"gpu-node-017", "gpu-node-040", "gpu-node-063"}
HERE = [name for name in GPU if name not in ABSENT]


def test_expected_nodes_are_named_with_certainty() -> None:
    """61 of 64: the three."""
    missing = find_missing(_view(HERE, 64), Expected(GPU))
    assert (missing.count, set(missing.sure), missing.likely, missing.unnamed) == (3, ABSENT, [], 0)
    assert missing.text() == "missing: gpu-node-[017,040,063] (did not join)"


def test_the_nodes_of_the_last_round_are_named_with_certainty() -> None:
    """Those that were lost and are not back."""
    missing = find_missing(_view(HERE, 64, lost=tuple(ABSENT)), Expected())
    assert set(missing.sure) == ABSENT
    assert not missing.likely
    assert missing.unnamed == 0


def test_a_lost_node_that_is_back_is_not_missing() -> None:
    """Under its name, from another process."""
    missing = find_missing(_view(["a", "b"], 3, lost=("a", "c")), Expected())
    assert missing.sure == ["c"]


def test_a_lost_node_whose_host_has_others_is_only_likely_missing() -> None:
    """One of those may have come in its place."""
    missing = find_missing(_view(["a", "a"], 3, lost=("a",)), Expected())
    assert (missing.sure, missing.likely, missing.unnamed) == ([], ["a (pid 1)"], 0)


def test_without_either_the_gaps_are_likely_and_the_rest_is_not_known() -> None:
    """And it is said that it is not."""
    missing = find_missing(_view(HERE, 64), Expected())
    assert missing.likely == ["gpu-node-017", "gpu-node-040"]
    assert (missing.count, missing.sure, missing.unnamed) == (3, [], 1)
    assert missing.text() == (
        "likely missing: gpu-node-[017,040] (by a gap in the names); "
        "1 more node is missing whose name is not known"
    )


def test_nobody_is_missing_in_a_round_that_has_all_it_needs() -> None:
    """Whatever the gaps in the names."""
    assert not find_missing(_view(["n1", "n3"], 2), Expected())


def test_a_list_that_was_cut_has_no_gaps() -> None:
    """Who is not named is not missing."""
    view = _view(["n1", "n3"], 200)
    view = RunView(
        "server", 1, settings=view.settings, participants=view.participants,
        counts=Counts(participants=150),
    )  # fmt: skip
    missing = find_missing(view, Expected(["n1", "n2"]))
    assert (missing.count, missing.groups, missing.unnamed) == (50, (), 50)
