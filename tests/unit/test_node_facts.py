"""What a node brings to its run: found in what a launcher has set, or said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rendezvous import RendezvousParameters, RendezvousRules, _core
from rendezvous._base.rules import read_rules
from rendezvous._coordination.expected import Expected
from rendezvous._node.expect import expand_names, make_expected
from rendezvous._node.facts import make_facts

NODES = {name: _core.Node(name, 1, 0) for name in ("node1", "node2.cluster", "10.0.0.3")}


@pytest.mark.parametrize("name", ["SLURM_PROCID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK"])
def test_a_given_rank_is_found_in_what_the_launcher_sets(name: str) -> None:
    """Unless the user gives one."""
    assert make_facts(RendezvousRules(rank_by="given"), {name: "3"}).rank == 3
    assert make_facts(RendezvousRules(rank_by="given", rank=1), {name: "3"}).rank == 1
    with pytest.raises(ValueError, match=f"{name} is 'x', not a rank"):
        make_facts(RendezvousRules(rank_by="given"), {name: "x"})


def test_a_given_rank_that_nobody_gives_is_an_error() -> None:
    """That says where it was looked for; and without the policy, nobody looks."""
    with pytest.raises(ValueError, match="SLURM_PROCID, JOB_COMPLETION_INDEX or OMPI_COMM"):
        make_facts(RendezvousRules(rank_by="given"), {})
    assert make_facts(RendezvousRules(), {"SLURM_PROCID": "3"}).rank is None


def test_a_topology_key_is_said_or_in_a_variable_or_a_file_or_slurms(tmp_path: Path) -> None:
    """In this order of what the user says."""
    path = tmp_path / "where"
    path.write_text("pod1/rack2\n")

    def key(topology: str | None, **environment: str) -> str:
        rules = RendezvousRules(rank_by="topology", topology=topology)
        return make_facts(rules, environment).topology

    assert key("sw1/r2") == "sw1/r2"
    assert key("env:RACK", RACK="r7") == "r7"
    assert key(f"file:{path}") == "pod1/rack2"
    slurm = {"SLURM_TOPOLOGY_ADDR": "s0.s3.node7"}
    assert key(None, **slurm, SLURM_TOPOLOGY_ADDR_PATTERN="switch.switch.node") == "s0/s3"
    assert key(None, **slurm) == "s0/s3"
    dotted = {"SLURM_TOPOLOGY_ADDR": "s0.s3.node7.local"}
    assert key(None, **dotted, SLURM_TOPOLOGY_ADDR_PATTERN="switch.switch.node") == "s0/s3"
    for topology in (None, "env:RACK", "file:/nowhere/at/all"):
        with pytest.raises(ValueError, match="rank_by=topology"):
            key(topology)


def test_an_attempt_is_a_number_or_slurms_restarts() -> None:
    """None of it plays no part."""
    assert make_facts(RendezvousRules(), {"SLURM_RESTART_COUNT": "2"}).attempt == 0
    assert make_facts(RendezvousRules(attempt="auto"), {"SLURM_RESTART_COUNT": "2"}).attempt == 2
    assert make_facts(RendezvousRules(attempt="auto"), {}).attempt == 0
    assert make_facts(RendezvousRules(attempt="3"), {}).attempt == 3
    with pytest.raises(ValueError, match="attempt is 'many'"):
        make_facts(RendezvousRules(attempt="many"), {})


def test_rules_are_read_from_a_configuration() -> None:
    """Strings, as --rdzv-conf has them."""

    def rules(**config: Any) -> RendezvousRules:
        return read_rules(RendezvousParameters("c10d", "", "run", 1, 1, **config))

    assert rules() == RendezvousRules()
    assert rules(rank_by="topology", sticky_ranks="0", former_first="no", segment="4") == (
        RendezvousRules(rank_by="topology", sticky_ranks=False, former_first=False, segment=4)
    )
    assert rules(debounce="0.5", rank="2").debounce == 0.5
    with pytest.raises(ValueError, match="debounce is 'soon'"):
        rules(debounce="soon")
    with pytest.raises(ValueError, match="rank_by is 'luck'"):
        rules(rank_by="luck").group_settings(1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b ; c", ["a", "b", "c"]),
        ("node[01-03,7],x", ["node01", "node02", "node03", "node7", "x"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("[fd00::1],10.0.0.1", ["fd00::1", "10.0.0.1"]),
        ("", []),
    ],
)
def test_lists_of_nodes_are_expanded(text: str, names: list[str]) -> None:
    """SLURM's short form, too."""
    assert expand_names(text) == names


def test_expected_nodes_are_a_list_a_number_a_file_or_slurms(tmp_path: Path) -> None:
    """None: nothing is expected."""
    path = tmp_path / "hosts"
    path.write_text("# nodes\nnode1 slots=8\n\nnode2\n")
    assert make_expected(["a", "b"], {}).names == ("a", "b")
    assert make_expected("4", {}).count == 4
    assert make_expected(f"file:{path}", {}).names == ("node1", "node2")
    assert make_expected("slurm", {"SLURM_JOB_NODELIST": "n[1-2]"}).names == ("n1", "n2")
    assert not make_expected(None, {})
    for wrong in ("slurm", "0", "n[1-x]", "file:/nowhere"):
        with pytest.raises(ValueError, match="expect"):
            make_expected(wrong, {})


def test_the_missing_are_named_with_how_far_they_got() -> None:
    """A name is known by its first part, an address as it is."""
    expected = Expected(["node1", "node2", "10.0.0.3", "10.0.0.4", "node5", "10.0.0.6"])
    here = [NODES["node1"], NODES["node2.cluster"], NODES["10.0.0.3"]]
    lost = [_core.Node("node5", 1, 0)]
    text = expected.text(here, 3, lost, {"10.0.0.4": "is", "10.0.0.6": "never"})
    assert text == (
        "missing of the expected nodes: 10.0.0.4 (connected, and did not join), "
        "node5 (joined, and was lost), 10.0.0.6 (never connected)"
    )
    assert expected.text([*here, *lost], 4, [], {}) == (
        "missing of the expected nodes: 10.0.0.[4,6] (did not join)"
    )
    assert Expected(count=4).text(here, 3, [], {}) == "1 of 4 expected nodes are missing"
    assert not Expected(["node1"]).text(here, 3, [], {})
