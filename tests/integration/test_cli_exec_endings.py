"""How jobs under `rendezvous exec` end or go on: README's elastic line, commands that fail at once,
a node that is lost while another one's command fails. In each of the ways a run is kept."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from support.cli import Running, report_command, reports_of_round, stop, wait_for
from test_cli_exec_failures import Job, _root_cause, job

__all__ = ["job"]


def _round_of(directory: Path, pattern: str, count: int) -> int:
    """The first round of which there are so many files."""

    def look() -> int | None:
        for number in range(1, 20):
            if len(list(directory.glob(pattern.format(number)))) == count:
                return number
        return None

    return wait_for(f"{count} nodes", look)


def test_readmes_elastic_job_goes_on_without_a_node_that_is_killed(
    job: Job, tmp_path: Path
) -> None:
    """Two to four nodes: three run, one is killed, two go on, and end as their command does."""
    command = report_command(tmp_path)
    nodes = [job.start(*command, nodes="2:4") for _ in range(3)]
    before = int(reports_of_round(tmp_path, 3)[0]["env"]["RENDEZVOUS_ROUND"])
    job.wait_for_host(nodes)
    victim = next(node for node in nodes if "serving the rendezvous store" not in node.stderr)
    nodes.remove(victim)
    victim.send(signal.SIGKILL)
    reports_of_round(tmp_path, 2, after=before)
    stop(tmp_path)
    for node in nodes:
        assert node.end() == 0, node.stderr


def test_commands_that_fail_on_all_nodes_at_once(job: Job, tmp_path: Path) -> None:
    """However they come in between each other, all tell the same root cause."""
    script = (
        "touch there-$RENDEZVOUS_ROUND-$RANK; while ! test -e go; do sleep 0.02; done;"
        "echo all broken >&2; exit 5"
    )
    nodes = [job.start("--", "sh", "-c", script, nodes="3") for _ in range(3)]
    _round_of(tmp_path, "there-{}-*", 3)
    (tmp_path / "go").touch()
    assert {node.end() for node in nodes} <= {5, 93}
    assert "exit code 5, its last line: 'rank " in _root_cause(nodes)


def test_a_node_that_is_lost_while_anothers_command_fails_for_good(
    job: Job, tmp_path: Path
) -> None:
    """The first failure may follow from the loss; the second one cannot, and is the root cause."""
    endless = "touch there-$RENDEZVOUS_ROUND-$RANK; while :; do sleep 0.1; done"
    failing_script = (
        "touch there-$RENDEZVOUS_ROUND-$RANK; while ! test -e go; do sleep 0.02; done;"
        "echo broken disk >&2; exit 9"
    )
    others: list[Running] = [job.start("--", "sh", "-c", endless) for _ in range(2)]
    job.wait_for_host(others)
    failing = job.start("--", "sh", "-c", failing_script)
    _round_of(tmp_path, "there-{}-*", 3)
    victim = next(node for node in others if "serving the rendezvous store" not in node.stderr)
    others.remove(victim)
    victim.send(signal.SIGKILL)
    (tmp_path / "go").touch()
    assert failing.end() == 9, failing.stderr
    assert others[0].end() == 93, others[0].stderr
    cause = _root_cause([failing, others[0]])
    assert re.search(r"exit code 9, its last line: 'rank \d: broken disk'", cause)
