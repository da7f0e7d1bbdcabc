"""`rendezvous timeline`, and what a server remembers of what happened to its runs."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Running, report_command, reports_of_round, stop, wait_for

from rendezvous import Server, StoreClosedError, TCPStore, _core

RUN = "job-1"


def _client(server: Server, name: str) -> _core.RunClient:
    store = TCPStore("127.0.0.1", server.port, wait_for_workers=False)
    settings = _core.GroupSettings(1, 1)
    return _core.RunClient(store, name, _core.Node(name, 1, 0), settings, 0)


def test_a_server_drops_the_oldest_events() -> None:
    with Server(limits={"timeline_bytes": 10_000}) as server:
        client = _client(server, "busy")
        for number in range(1, 1_001):
            client.close_run(5, f"reason {number}")
        known, now_s, following, events = client.timeline("busy", 0, 5)
        assert known
        assert following == 1_001
        assert [event[0] for event in events] == list(range(1_001 - len(events), 1_001))
        assert 10 < len(events) < 100
        assert events[-1][-1] == "reason 1000"
        assert all(event[1] <= now_s for event in events)


def test_more_events_than_one_answer_holds_come_all() -> None:
    with Server() as server:
        client = _client(server, "busy")
        for _ in range(700):
            client.close_run(5)
        numbers = [event[0] for event in client.timeline("busy", 100, 5)[3]]
        assert numbers == list(range(100, 701))


class Scene:
    """A server process, nodes as processes, and what `timeline` says of them."""

    def __init__(self, cli: Cli, directory: Path) -> None:
        self.cli = cli
        self.directory = directory
        self.server, self.endpoint = cli.serve()

    def join(self, nodes: str = "2") -> Running:
        conf = "keep_alive_interval=3600,last_call_timeout=3600"
        words = ("--run-id", RUN, "--rdzv-conf", conf, *report_command(self.directory))
        return self.cli.start_exec(self.endpoint, nodes, *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        done = self.cli.run("timeline", *words, "--endpoint", self.endpoint)
        assert b"Traceback" not in done.stderr
        return done

    def events(self, *words: str) -> list[dict[str, Any]]:
        """None before the run is there."""
        done = self.run(RUN, "--json", *words)
        if b"no such run" in done.stderr:
            return []
        assert (done.returncode, done.stderr) == (0, b"")
        events: list[dict[str, Any]] = json.loads(done.stdout)["events"]
        return events


@pytest.fixture
def scene(cli: Cli, tmp_path: Path) -> Scene:
    return Scene(cli, tmp_path)


def _kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["kind"] for event in events]


def test_a_round_and_the_end_of_its_job(scene: Scene) -> None:
    first = scene.join()
    wait_for("the first node", lambda: "joined" in _kinds(scene.events()) or None)
    second = scene.join()
    reports_of_round(scene.directory, 2)
    joined, other, complete = scene.events()
    assert [joined["kind"], other["kind"], complete["kind"]] == ["joined", "joined", "complete"]
    assert complete["node"] == other["node"] != joined["node"]
    assert (complete["round"], complete["nodes"]) == (1, 2)
    assert complete["took_s"] == pytest.approx(
        complete["monotonic_s"] - joined["monotonic_s"], abs=1e-4
    )
    assert datetime.fromisoformat(joined["time"]) <= datetime.fromisoformat(complete["time"])
    stop(scene.directory)
    assert [first.end(), second.end()] == [0, 0]
    assert _kinds(scene.events("--rounds")) == ["complete", "finished"]
    lines = scene.run(RUN).stdout.decode().splitlines()
    assert lines[2].endswith(f"{other['node']['addr']} (pid {other['node']['pid']}) came last")
    assert "round 1   complete   2 nodes in " in lines[2]
    assert all(len(line) <= 120 for line in lines)


def test_a_node_that_is_killed(scene: Scene) -> None:
    nodes = [scene.join(), scene.join()]
    reports_of_round(scene.directory, 2)
    nodes[0].send(signal.SIGKILL)
    (broken,) = wait_for(
        "the loss", lambda: [each for each in scene.events() if each["kind"] == "broken"] or None
    )
    assert broken["node"]["pid"] == nodes[0].process.pid
    assert broken["took_s"] > 0
    assert "it may come back for" in scene.run(RUN).stdout.decode()


def test_follow_goes_on_with_what_happens(scene: Scene) -> None:
    first = scene.join()
    wait_for("the first node", lambda: "joined" in _kinds(scene.events()) or None)
    following = scene.cli.start("timeline", RUN, "--follow", "--endpoint", scene.endpoint)
    following.line(" joined ", "stdout")
    second = scene.join()
    following.line(" came last", "stdout")
    stop(scene.directory)
    assert [first.end(), second.end()] == [0, 0]
    following.line(" finished ", "stdout")


def test_a_run_that_is_not_there_or_kept_by_others(scene: Scene) -> None:
    done = scene.run("job-2")
    assert done.returncode == 1
    assert b"no such run: 'job-2'" in done.stderr
    done = scene.cli.run("timeline", RUN, "--backend", "etcd", "--endpoint", "127.0.0.1:9")
    assert done.returncode == 1
    assert b"there is no timeline at" in done.stderr


def test_the_servers_own_warnings(scene: Scene) -> None:
    done = scene.run()
    assert (done.returncode, done.stdout) == (0, b"nothing has happened\n")
    host, _, port = scene.endpoint.rpartition(":")
    with TCPStore(host, int(port), wait_for_workers=False) as store:
        client = _core.RunClient(
            store, RUN, _core.Node("node0", 1, 0), _core.GroupSettings(1, 1), 0
        )
        client.join(0, 5)
        client.close()
    done = wait_for(
        "the warning", lambda: done if b"lost node" in (done := scene.run()).stdout else None
    )
    assert b"  server    warning    " in done.stdout


def test_a_server_says_what_is_going_on_when_it_gets_sigquit(cli: Cli, tmp_path: Path) -> None:
    scene = Scene(cli, tmp_path)
    node = scene.join()
    wait_for("the node", lambda: "joined" in _kinds(scene.events()) or None)
    scene.server.send(signal.SIGQUIT)
    assert "run 'job-1'" in scene.server.line(" round 1, forming, 1 of at least 2 nodes")
    scene.server.line("  round 1   joined     ")
    assert "name space default: keys 1," in scene.server.line("name space")
    # It serves on.
    assert _kinds(scene.events()) == ["joined"]
    node.close()
    scene.server.send(signal.SIGTERM)
    assert scene.server.end() == 0


def test_status_tells_programs_what_has_happened(scene: Scene) -> None:
    scene.join()
    wait_for("the node", lambda: "joined" in _kinds(scene.events()) or None)
    done = scene.cli.run("status", RUN, "--json", "--endpoint", scene.endpoint)
    (event,), (same,) = json.loads(done.stdout)["events"], scene.events()
    # The times on the clock are worked out anew each time.
    assert event.pop("time")[:10] == same.pop("time")[:10]
    assert event == same


def test_a_report_of_a_closed_server_is_refused() -> None:
    server = Server()
    assert server.report()["spaces"]["default"]["keys"] == 0
    server.close()
    with pytest.raises(StoreClosedError):
        server.report()
