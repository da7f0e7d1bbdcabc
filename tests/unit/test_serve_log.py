"""What `serve` logs of rounds that form, from reports alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rendezvous import _core
from rendezvous.cli.tools.serve_log import RunLog


def joined(number: int, round_number: int = 1) -> tuple[Any, ...]:
    node = _core.Node(f"gpu-{number:03}", number + 1, 0)
    return number + 1, 0.0, "joined", round_number, number + 1, 0.0, node, ""


def report(at_s: float, participants: int, events: Any = (), **more: Any) -> dict[str, Any]:
    run = {
        "space": "default",
        "run_id": "job",
        "round": 1,
        "complete": False,
        "closed": False,
        "failed": False,
        "participants": participants,
        "min_nodes": 64,
        "events": list(events),
    }
    return {"serial": participants, "monotonic_s": at_s, "runs": [run | more]}


def test_who_came_is_said_once_and_many_names_are_folded() -> None:
    log = RunLog()
    [(level, line)] = log.lines(report(0, 1, [joined(0)]))
    assert (level, log.after) == (logging.INFO, 1)
    assert line == ("run 'job': round 1: 1 of at least 64 nodes has joined; new: gpu-000 (pid 1)")
    assert log.lines(report(5, 1)) == []
    [(_, line)] = log.lines(report(10, 61, [joined(number) for number in range(1, 61)]))
    assert "61 of at least 64 nodes have joined; new: " in line
    assert "gpu-[001-060]" in line


def test_a_round_to_which_nobody_comes_is_told_again_after_twice_the_time() -> None:
    log = RunLog()
    told = [at for at in range(0, 400, 5) if log.lines(report(at, 61))]
    assert told == [30, 60, 120, 240]
    # Somebody came: it is counted anew.
    assert log.lines(report(400, 62)) == []
    [(level, line)] = log.lines(report(430, 62))
    assert level == logging.WARNING
    assert "nobody has come for 30 s" in line
    assert line.endswith("rendezvous status job")


def test_nothing_is_said_of_rounds_that_have_what_they_need() -> None:
    log = RunLog()
    for more in ({"complete": True}, {"closed": True}, {"failed": True}, {"min_nodes": 2}):
        for at in (0, 100, 1000):
            assert log.lines(report(at, 2, **more)) == []


def test_name_spaces_are_named() -> None:
    [(_, line)] = RunLog().lines(report(0, 1, [joined(0)], space="team-a"))
    assert line.startswith("run 'job' of name space team-a: ")


@pytest.mark.parametrize(
    ("run_id", "end"),
    [
        ("two words; rm -rf ~", "rendezvous status 'two words; rm -rf ~'"),
        ("line\nserver: all is well", "nobody has come for 30 s"),
    ],
    ids=["command", "line"],
)
def test_a_runs_name_is_neither_a_command_nor_a_line(run_id: str, end: str) -> None:
    """Whoever joins chooses it, and whoever reads the log may paste the command."""
    log = RunLog()
    assert log.lines(report(0, 1, run_id=run_id)) == []
    [(_, line)] = log.lines(report(30, 1, run_id=run_id))
    assert line.endswith(end)
    assert "\n" not in line
