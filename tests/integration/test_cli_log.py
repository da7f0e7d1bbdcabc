"""Log lines of the command: when, where, of which place, who came and went, and how it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support.cli import Cli, Running, report_command, reports_of_round, stop

RUN = ("--run-id", "my-job")
SETTINGS = "last_call_timeout=0.5,keep_alive_interval=0.5,keep_alive_max_attempt=6,debounce=0"
CONF = ("--rdzv-conf", SETTINGS)
HOST = os.uname().nodename.partition(".")[0]
LINE = re.compile(
    r"^rendezvous: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (INFO|WARNING|ERROR)"
    r" \[([^]]+)\] (.+)$"
)


def lines(stderr: str) -> list[tuple[str, str, str]]:
    """Level, place and message of each; all lines are of that form."""
    found = [LINE.match(line) for line in stderr.splitlines()]
    assert all(found), stderr
    return [(match[1], match[2], match[3]) for match in found if match]


def test_each_line_has_date_host_run_round_and_rank(cli: Cli) -> None:
    """As far as they are known by then."""
    _, endpoint = cli.serve()
    node = cli.start_exec(endpoint, "1", *RUN, *CONF, "--", "true")
    assert node.end() == 0
    found = lines(node.stderr)
    assert found[0][1] == HOST
    level, place, text = found[-1]
    assert (level, place) == ("INFO", f"{HOST} 127.0.0.1 my-job round 1 rank 0")
    assert text == "the command `true` ended with exit code 0: leaving"


def test_a_failed_command_ends_at_error_with_its_name(cli: Cli) -> None:
    """With its arguments, shortened."""
    _, endpoint = cli.serve()
    command = ("sh", "-c", "exit 7", "x" * 300)
    node = cli.start_exec(endpoint, "1", *RUN, *CONF, "--", *command)
    assert node.end() == 7
    errors = [text for level, _, text in lines(node.stderr) if level == "ERROR"]
    (text,) = [text for text in errors if "ended with" in text]
    assert text.startswith("the command `sh -c 'exit 7'")
    assert text.endswith("` ended with exit code 7: leaving")
    assert len(text) < 160


def test_a_command_that_cannot_go_on_says_so_as_an_error(cli: Cli) -> None:
    """By its name, in a line like the others."""
    _, endpoint = cli.serve()
    port = endpoint.rpartition(":")[2]
    server = cli.start("serve", "--port", port)
    assert server.end() == 1
    level, _, text = lines(server.stderr)[-1]
    assert level == "ERROR"
    assert text.startswith("serve: ")


@pytest.mark.parametrize("rulebook", ["server", "store"])
def test_who_came_and_who_went_is_named(cli: Cli, rulebook: str, tmp_path: Path) -> None:
    """Not only counted."""
    _, endpoint = cli.serve()
    conf = ("--rdzv-conf", f"{SETTINGS},rulebook={rulebook}")

    def start(name: str) -> int:
        words = (*RUN, *conf, "--local-addr", name, *report_command(tmp_path))
        return nodes.setdefault(name, cli.start_exec(endpoint, "2:3", *words)).process.pid

    nodes: dict[str, Running] = {}
    start("node-a")
    pid = start("node-b")
    first = nodes["node-a"]
    reports_of_round(tmp_path, 2)
    nodes["node-b"].send(signal.SIGKILL)
    other = start("node-c")
    reports_of_round(tmp_path, 2, after=1)
    line = first.line("the membership changed")
    assert (
        f"lost: node-b (pid {pid})" in line
        or f"waiting for the next round: node-c (pid {other})" in line
    )
    assert "came or went" not in line
    stop(tmp_path)
    assert first.end() == 0


def test_json_has_an_object_a_line(cli: Cli, tmp_path: Path) -> None:
    """With the same, as fields; and the events."""
    server = cli.start("serve", "--port", "0", "--log-format", "json")
    ready = json.loads(server.line("listening on"))
    assert (ready["level"], ready["command"], ready["host"]) == ("INFO", "serve", HOST)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}", ready["time"])
    endpoint = ready["message"].split()[-1]
    program = "import sys; sys.exit(3)"
    node = cli.start_exec(
        endpoint, "1", *RUN, *CONF, "--log-format", "json", "--", sys.executable, "-c", program
    )
    assert node.end() == 3
    objects = [json.loads(line) for line in node.stderr.splitlines()]
    last = next(each for each in objects if "ended with exit code 3" in each.get("message", ""))
    assert (last["level"], last["command"], last["run_id"]) == ("ERROR", "exec", "my-job")
    assert (last["round"], last["rank"], last["world_size"]) == (1, 0, 1)
    assert last["node"] == "127.0.0.1"
    assert "joined" in [each["event"]["what"] for each in objects if "event" in each]


def test_the_format_may_come_from_the_environment(cli: Cli) -> None:
    """For all that a script starts; a wrong one is told as a wrong argument."""
    server = cli.start("serve", "--port", "0", RENDEZVOUS_LOG_FORMAT="json")
    json.loads(server.line("listening on"))
    done = cli.run("serve", "--port", "0", RENDEZVOUS_LOG_FORMAT="yaml")
    assert done.returncode == 2
    assert b"--log-format: 'yaml' is not a format" in done.stderr
