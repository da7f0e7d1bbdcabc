"""`rendezvous status` says who is missing, which runs there are, and what changes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.cli import Cli, wait_for
from support.terminal import on_terminal, read_until

from rendezvous import RendezvousClosedError, TCPStore, _core

RUN = "my-job"
ALL = [f"gpu-node-{number:03}" for number in range(64)]
ABSENT = ["gpu-node-017", "gpu-node-040", "gpu-node-063"]
HERE = [name for name in ALL if name not in ABSENT]
SETTINGS = _core.GroupSettings(64, 64, 3600.0, 3600.0, 3)


class Scene:
    """A server, and nodes that wait in a run of it."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.server, self.endpoint = cli.serve()
        self.clients: dict[str, _core.RunClient] = {}
        self.joins: list[Background[_core.RunJoined]] = []
        host, port = self.endpoint.split(":")
        self.store = TCPStore(host, int(port), wait_for_workers=False)

    def join(self, *names: str, settings: _core.GroupSettings = SETTINGS) -> None:
        before = len(self.clients)
        for name in names:
            node = _core.Node(name, 7, 0)
            client = _core.RunClient(self.store, RUN, node, settings, 3600)
            self.clients[name] = client
            self.joins.append(Background(client.join, 0, 3600))
        onlooker = _core.RunClient(self.store, RUN, _core.Node("x", 0, 0), settings, 0)
        wait_for("all joins", lambda: onlooker.status(60).participants == before + len(names))
        onlooker.close()

    def status(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return self.cli.run("status", *words, "--endpoint", self.endpoint)

    def text(self, *words: str) -> list[str]:
        done = self.status(*words)
        assert done.stderr == b""
        return done.stdout.decode().splitlines()


@pytest.fixture
def scene(cli: Cli) -> Iterator[Scene]:
    scene = Scene(cli)
    yield scene
    if scene.joins:
        next(iter(scene.clients.values())).close_run(60)
    for join in scene.joins:
        with pytest.raises(RendezvousClosedError):
            join.result()


def test_61_of_64_expected_nodes_joined(scene: Scene) -> None:
    """The three that are missing come first, by name; those that are there are one line."""
    scene.join(*HERE)
    done = scene.status(RUN, "--expect", "gpu-node-[000-063]")
    text = done.stdout.decode().splitlines()
    assert done.returncode == 4
    assert text[1:4] == [
        "round 1: forming, 61 of at least 64 nodes",
        "missing: 3",
        "  gpu-node-[017,040,063]: did not join",
    ]
    assert text[4].startswith("what to do: check that the job has started on the missing nodes")
    assert text[-1] == "  gpu-node-[000-016,018-039,041-062]"
    assert "more" not in done.stdout.decode()
    report = json.loads(scene.status(RUN, "--expect", "gpu-node-[000-063]", "--json").stdout)
    assert report["missing"]["count"] == 3
    assert [node["name"] for node in report["missing"]["nodes"]] == ABSENT
    assert all(node["sure"] for node in report["missing"]["nodes"])


def test_without_expected_nodes_gaps_are_likely_and_the_rest_is_said_to_be_unknown(
    scene: Scene,
) -> None:
    """Nothing is claimed that cannot be known."""
    scene.join(*HERE)
    text = scene.text(RUN)
    assert text[2:5] == [
        "missing: 3",
        "  gpu-node-[017,040]: likely, by a gap in the names",
        "  1 more whose name is not known; --expect NAMES, here or of exec, tells",
    ]


def test_how_far_a_missing_node_got(scene: Scene) -> None:
    """By its address: this machine's is connected; another one never was."""
    scene.join("a")
    text = scene.text(RUN, "--expect", "127.0.0.1,192.0.2.7")
    assert "  127.0.0.1: connected, and did not join" in text
    assert "  192.0.2.7: never connected" in text
    assert any(line.startswith("what to do: see the logs of the missing nodes") for line in text)


def test_a_node_of_the_last_round_that_is_not_back(scene: Scene) -> None:
    """Is missing by its name, whatever else is expected."""
    settings = _core.GroupSettings(3, 3, 3600.0, 3600.0, 3)
    scene.join("a", "b", settings=settings)
    scene.joins.append(Background(_join_third(scene, settings)))
    assert [join.result().outcome for join in scene.joins] == ["placed"] * 3
    scene.joins.clear()
    assert scene.clients["b"].leave(True, 60)
    text = scene.text(RUN)
    assert text[1:3] == ["round 1: complete, with 3 ranks", text[2]]
    assert "lost: 1" in text
    again = [Background(scene.clients[name].join, 1, 3600) for name in ("a", "c")]
    wait_for("the next round", lambda: json.loads(scene.status(RUN, "--json").stdout)["round"] == 2)
    wait_for("both", lambda: "participants: 2" in scene.text(RUN))
    text = scene.text(RUN)
    assert text[2] == "missing: 1"
    assert re.fullmatch(r"  b: joined, and was lost at [-\d]+ [:\d]+, \d+ s ago.*", text[3])
    report = json.loads(scene.status(RUN, "--json").stdout)
    assert report["lost"][0]["event"] in {"failed", "lost"}
    assert datetime.fromisoformat(report["participants"][0]["since"]).tzinfo
    scene.joins = again


def _join_third(scene: Scene, settings: _core.GroupSettings) -> Any:
    client = _core.RunClient(scene.store, RUN, _core.Node("c", 7, 0), settings, 3600)
    scene.clients["c"] = client
    return lambda: client.join(0, 3600)


def test_who_is_overdue_is_listed_before_it_counts_as_lost(scene: Scene) -> None:
    """A node that hangs is seen while its connection stands; with --all, each line tells."""
    settings = _core.GroupSettings(3, 3, 3600.0, 0.05, 1_000_000)
    # Nothing sends keep-alives here. One after the other: the longest silence is listed first.
    scene.join("a", settings=settings)
    scene.join("b", settings=settings)
    wait_for("both are overdue", lambda: "silent: 2" in scene.text(RUN))
    text = scene.text(RUN)
    at = text.index("silent: 2")
    assert re.fullmatch(r"  a \(pid 7\): heard \d+ s ago", text[at + 1])
    assert "participants: 2" in text
    assert "  a (pid 7)" in text
    listed = scene.text(RUN, "--all")
    assert any(re.fullmatch(r"  b \(pid 7\), heard \d+ s ago", line) for line in listed)
    report = json.loads(scene.status(RUN, "--json").stdout)
    assert all(node["heard_ago_s"] > 0.05 for node in report["participants"])


def test_the_error_of_a_node_names_the_missing_first(scene: Scene, tmp_path: Path) -> None:
    """And folds those that joined, instead of the first 16 of them."""
    scene.join(*HERE[:-1])
    node = scene.cli.start_exec(
        scene.endpoint, "64", "--run-id", RUN, "--local-addr", HERE[-1],
        "--expect", "gpu-node-[000-063]",
        "--rdzv-conf", "join_timeout=2,last_call_timeout=3600,keep_alive_interval=3600,debounce=0",
        "--", "true",
    )  # fmt: skip
    assert node.end() != 0
    line = node.line("61 of at least 64")
    assert "missing of the expected nodes: gpu-node-[017,040,063] (did not join)" in line
    assert "gpu-node-[000-016,018-039,041-062]" in line
    assert "more" not in line


def test_a_run_id_that_is_nearly_right(scene: Scene) -> None:
    """A wrong one is told with the one that may be meant; also where a node waits under it."""
    scene.join("a")
    done = scene.status("my-jbo")
    assert done.returncode == 1
    assert b"is 'my-job' meant?" in done.stderr
    assert b"meant" not in scene.status("something else").stderr
    other = _core.RunClient(scene.store, "my_job", _core.Node("b", 7, 0), SETTINGS, 3600)
    join = Background(other.join, 0, 3600)
    wait_for("its run", lambda: scene.status("my_job").returncode == 4)
    assert any("the run 'my-job' is there, too" in line for line in scene.text("my_job"))
    other.close_run(60)
    with pytest.raises(RendezvousClosedError):
        join.result()


def test_all_runs_are_listed_without_a_run_id(scene: Scene) -> None:
    """A line each, and the same as JSON."""
    scene.join("a", "b")
    assert scene.text()[-2:] == ["runs: 1", "  my-job  round 1: forming, 2 of at least 64 nodes"]
    (run,) = json.loads(scene.status("--json").stdout)["runs"]
    assert (run["run_id"], run["complete"], run["participants"]) == (RUN, False, 2)


def test_the_run_id_may_be_an_option_or_come_from_the_environment(scene: Scene) -> None:
    """As of exec's command, which has it."""
    scene.join("a")
    want = scene.text(RUN)
    assert scene.text("--run-id", RUN) == want
    done = scene.cli.run("status", RENDEZVOUS_RUN_ID=RUN, RENDEZVOUS_ENDPOINT=scene.endpoint)
    assert done.stdout.decode().splitlines() == want


def test_following_into_a_pipe_gives_a_line_for_each_change(scene: Scene) -> None:
    """With date and time, and who joined."""
    scene.join("a")
    following = scene.cli.start("status", RUN, "--follow", "--endpoint", scene.endpoint)
    line = following.line("1 of at least 64", "stdout")
    assert line[4] == line[7] == "-"
    assert line[23] == " "
    scene.join("b")
    assert following.line("2 of at least 64", "stdout").endswith("; joined: b (pid 7)")
    scene.server.send(signal.SIGKILL)
    following.line(f"{scene.endpoint}", "stdout")
    scene.joins.clear()
    following.send(signal.SIGINT)
    assert following.end() == 130


def test_following_as_json_gives_an_object_a_line(scene: Scene) -> None:
    """For programs."""
    scene.join("a")
    following = scene.cli.start("status", RUN, "-f", "--json", "--endpoint", scene.endpoint)
    assert json.loads(following.line('"a"', "stdout"))["missing"]["count"] == 63
    scene.join("b")
    assert json.loads(following.line('"b"', "stdout"))["missing"]["count"] == 62


def test_following_on_a_terminal_draws_again(scene: Scene) -> None:
    """In colours, within its width."""
    scene.join("a")
    words = ("status", RUN, "--follow", "--endpoint", scene.endpoint)
    with on_terminal(*words) as terminal:
        read_until(terminal, "\x1b[2J", "1 of at least", "\x1b[1;31mmissing: 63", "pid 7")
        scene.join(*[f"some-rather-long-name-{number}.cluster" for number in range(0, 40, 2)])
        text = read_until(terminal, "\x1b[2J", "21 of at least", "participants: 21", "38].")
        assert all(len(line) < 80 for line in text.splitlines() if "\x1b" not in line)


def test_no_color_is_kept_to(scene: Scene) -> None:
    """NO_COLOR, with whatever value."""
    scene.join("a")
    words = ("status", RUN, "--endpoint", scene.endpoint)
    with on_terminal(*words, NO_COLOR="1") as terminal:
        assert "\x1b" not in read_until(terminal, "participants: 1", "pid 7")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a", "--run-id", "b"), "two runs are named"),
        (("--follow",), "give a RUN_ID"),
        (("--expect", "4"), "give a RUN_ID"),
    ],
)
def test_wrong_arguments(cli: Cli, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and what is wrong."""
    done = cli.run("status", *words)
    assert done.returncode == 2
    assert told in done.stderr.decode()


def test_a_wrong_list_of_expected_nodes(scene: Scene) -> None:
    """As wrong arguments."""
    scene.join("a")
    done = scene.status(RUN, "--expect", "n[1-x]")
    assert done.returncode == 2
    assert b"expect: '1-x'" in done.stderr
