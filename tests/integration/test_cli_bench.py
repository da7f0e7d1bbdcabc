"""`rendezvous bench` as a process."""

from __future__ import annotations

import re

import pytest
from support.cli import Cli, free_port

QUICK = ("bench", "--seconds", "0", "--nodes", "2")


def rows(out: str) -> dict[str, list[float]]:
    """The figures of each operation."""
    found = re.findall(r"^(\w+) +((?:[\d.,]+ *)+)$", out, re.MULTILINE)
    return {name: [float(cell.replace(",", "")) for cell in cells.split()] for name, cells in found}


def test_it_measures_a_server_of_its_own(cli: Cli) -> None:
    """A row for each operation, with percentiles that do not fall, and a rendezvous."""
    done = cli.run(*QUICK)
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert list(rows(out)) == ["get", "set", "add", "compare_set"]
    for *times, rate in rows(out).values():
        assert len(times) == 4
        assert times[0] > 0
        assert times == sorted(times)
        assert rate > 0
    assert "rendezvous of 2 nodes" in out
    assert re.search(r"first join to last answer +\d+\.\d ms", out)
    assert done.stderr == b""


def test_it_measures_a_server_that_runs_and_leaves_no_key(cli: Cli) -> None:
    """What it makes on somebody's server it deletes; what was there stays."""
    endpoint = cli.serve()[1]
    cli.run("set", "mine", "1", "--endpoint", endpoint)
    done = cli.run("bench", "--seconds", "0", "--nodes", "0", "--endpoint", endpoint)
    assert done.returncode == 0, done.stderr
    assert endpoint in done.stdout.decode()
    assert "rendezvous of" not in done.stdout.decode()
    assert cli.run("keys", "--endpoint", endpoint).stdout == b"mine\n"


def test_a_server_of_somebodys_job_is_not_measured_by_accident(cli: Cli) -> None:
    """RENDEZVOUS_ENDPOINT, which jobs set, does not count: a server is started."""
    nobody = f"127.0.0.1:{free_port()}"
    done = cli.run("bench", "--seconds", "0", "--nodes", "0", RENDEZVOUS_ENDPOINT=nobody)
    assert done.returncode == 0, done.stderr
    assert nobody not in done.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seconds", "-1"), "not a number of seconds"),
        (("--value", "x"), "not a whole number"),
        (("--nodes", "100000"), "not a whole number from 0 to"),
        (("--endpoint", "host:99999"), "99999"),
    ],
)
def test_wrong_arguments_are_told(cli: Cli, arguments: tuple[str, str], said: str) -> None:
    """Exit code 2, and a line that names what is wrong."""
    done = cli.run("bench", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stdout == b""
