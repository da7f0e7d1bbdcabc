"""`rendezvous status` against real servers, with real processes in the runs it looks at."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.cli import (
    Cli,
    Running,
    free_port,
    report_command,
    reports_of_round,
    wait_for,
)

from rendezvous import C10dRendezvousBackend, RendezvousClosedError, TCPStore, _core

RUN = "job-1"
# In every test, nobody is taken for dead, however slow the machine.
NEVER = "keep_alive_interval=3600"
RULEBOOKS = {"server": "rulebook=server", "store": "rulebook=store"}


class Scene:
    """A server process, and what `status` says of it."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.server, self.endpoint = cli.serve()

    def status(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        done = self.cli.run("status", *arguments, "--endpoint", self.endpoint)
        assert b"Traceback" not in done.stderr
        return done

    def text(self, *arguments: str) -> list[str]:
        done = self.status(*arguments)
        assert (done.returncode in {0, 4}, done.stderr) == (True, b"")
        return done.stdout.decode().splitlines()

    def report(self, run_id: str = RUN) -> dict[str, Any]:
        done = self.status(run_id, "--json")
        assert done.stderr == b""
        report: dict[str, Any] = json.loads(done.stdout)
        is_over = report["finished_round"] and not report["participants"]
        assert done.returncode == (0 if report["complete"] or is_over else 4)
        return report

    def report_once(self, what: str, **wanted: Any) -> dict[str, Any]:
        """The report as soon as these fields are as wanted; of a list, its length."""

        def look() -> dict[str, Any] | None:
            done = self.status(RUN, "--json")
            if done.returncode not in {0, 4}:
                return None
            report: dict[str, Any] = json.loads(done.stdout)
            seen = {
                key: len(report[key]) if isinstance(report[key], list) else report[key]
                for key in wanted
            }
            return report if seen == wanted else None

        return wait_for(what, look)

    def join(self, nodes: str, rulebook: str, directory: Path) -> Running:
        """One more node, whose command reports to `directory`."""
        conf = f"{NEVER},last_call_timeout=3600,{RULEBOOKS[rulebook]}"
        words = ("--run-id", RUN, "--rdzv-conf", conf, *report_command(directory))
        return self.cli.start_exec(self.endpoint, nodes, *words)

    def store(self) -> TCPStore:
        host, port = self.endpoint.split(":")
        return TCPStore(host, int(port), wait_for_workers=False)


@pytest.fixture
def scene(cli: Cli) -> Scene:
    return Scene(cli)


@pytest.mark.parametrize("rulebook", RULEBOOKS)
def test_who_is_in_a_complete_round(scene: Scene, rulebook: str, tmp_path: Path) -> None:
    """Each participant with rank and pid, and what the nodes agree on; whoever keeps the run."""
    nodes = [scene.join("2", rulebook, tmp_path) for _ in range(2)]
    reports_of_round(tmp_path, 2)
    report = scene.report()
    ranks = [node["rank"] for node in report["participants"]]
    pids = {node["pid"] for node in report["participants"]}
    assert ranks == [0, 1]
    assert pids == {node.process.pid for node in nodes}
    assert report["kept_by"] == rulebook
    assert report["endpoint"] == scene.endpoint
    assert (report["round"], report["complete"], report["world_size"]) == (1, True, 2)
    assert (report["closed"], report["last_call_left_s"]) == (False, None)
    assert report["waiting"] == report["spares"] == report["lost"] == []
    assert report["settings"] == {
        "min_nodes": 2,
        "max_nodes": 2,
        "last_call_timeout_s": 3600.0,
        "keep_alive_interval_s": 3600.0,
        "keep_alive_max_attempt": 3,
    }
    text = scene.text(RUN)
    assert "round 1: complete, with 2 ranks" in text
    assert any(line.startswith("  rank 1  ") and line.endswith(")") for line in text)
    assert "participants: 2" in text
    assert not any(line.startswith(("waiting", "spares", "lost", "closed")) for line in text)


@pytest.mark.parametrize("rulebook", RULEBOOKS)
def test_a_round_that_forms(scene: Scene, rulebook: str, tmp_path: Path) -> None:
    """How many are there of how many that are needed; no ranks yet."""
    scene.join("2:3", rulebook, tmp_path)
    report = scene.report_once("one node", participants=1)
    assert report["complete"] is False
    assert report["participants"][0]["rank"] is None
    assert report["last_call_left_s"] is None
    assert "round 1: forming, 1 of at least 2 nodes" in scene.text(RUN)
    scene.join("2:3", rulebook, tmp_path)
    report = scene.report_once("two nodes", participants=2)
    assert 0 < report["last_call_left_s"] <= 3600
    (line,) = [line for line in scene.text(RUN) if line.startswith("last call: ")]
    assert ("at most" in line) == (rulebook == "store")


@pytest.mark.parametrize("rulebook", RULEBOOKS)
def test_spares(scene: Scene, rulebook: str, tmp_path: Path) -> None:
    """Who waits beside a full round is told apart from those who take part."""
    nodes = [scene.join("2", rulebook, tmp_path) for _ in range(2)]
    reports_of_round(tmp_path, 2)
    spare = scene.join("2", rulebook, tmp_path)
    report = scene.report_once("a spare", spares=1)
    assert report["spares"][0]["pid"] == spare.process.pid
    assert {n["pid"] for n in report["participants"]} == {n.process.pid for n in nodes}
    text = scene.text(RUN)
    assert text[text.index("spares: 1") + 1].endswith(f"(pid {spare.process.pid})")


@pytest.mark.parametrize("rulebook", RULEBOOKS)
def test_ranks_are_those_that_were_given(scene: Scene, rulebook: str) -> None:
    """When rank 0 is gone, the others are still told with the ranks they have."""
    settings = _core.GroupSettings(3, 3, 3600.0, 3600.0, 3)
    nodes = [_core.Node(f"host{i}", 10 + i, 0) for i in range(3)]
    if rulebook == "store":
        group = _core.Group()
        for node in nodes:
            group.join(node, settings, 0, 0.0)
        group.leave(nodes[0], True, 0.0)
        assert C10dRendezvousBackend(scene.store(), RUN).set_state(group.encode())
    else:
        clients = [_core.RunClient(scene.store(), RUN, node, settings, 3600) for node in nodes]
        joins = [Background(client.join, 0, 60) for client in clients]
        assert [join.result().outcome for join in joins] == ["placed"] * 3
        assert clients[0].leave(True, 60)
    report = scene.report()
    assert [(n["rank"], n["addr"]) for n in report["participants"]] == [(1, "host1"), (2, "host2")]
    (lost,) = report["lost"]
    assert (lost["addr"], lost["pid"], lost["local_id"]) == ("host0", 10, 0)
    assert report["world_size"] == 3
    text = scene.text(RUN)
    assert text[text.index("participants: 2") + 1] == "  rank 1  host1 (pid 11)"
    line = text[text.index("lost: 1") + 1]
    assert line.startswith("  host0 (pid 10)")
    assert (" ago" in line) == (rulebook == "server")


@pytest.mark.parametrize("rulebook", RULEBOOKS)
def test_long_lists_are_folded(scene: Scene, rulebook: str) -> None:
    """Of many nodes the hosts are folded; --all has a line for each, and JSON always does."""
    settings = _core.GroupSettings(100, 100, 3600.0, 3600.0, 3)
    nodes = [_core.Node(f"host{i}", 1, 0) for i in range(40)]
    if rulebook == "store":
        group = _core.Group()
        for node in nodes:
            group.join(node, settings, 0, 0.0)
        assert C10dRendezvousBackend(scene.store(), RUN).set_state(group.encode())
        joins = []
    else:
        store = scene.store()
        clients = [_core.RunClient(store, RUN, node, settings, 3600) for node in nodes]
        joins = [Background(client.join, 0, 60) for client in clients]
    assert len(scene.report_once("all of them", participants=40)["participants"]) == 40
    text = scene.text(RUN)
    assert text[-2:] == ["participants: 40", "  host[0-39]"]
    text = scene.text(RUN, "--all")
    assert sum(line.startswith("  host") for line in text) == 40
    assert text[-1].startswith("  host39 (pid 1)")
    if joins:
        clients[0].close_run(60)
        for join in joins:
            with pytest.raises(RendezvousClosedError):
                join.result()
    else:
        group.close()
        backend = C10dRendezvousBackend(scene.store(), RUN)
        stored = backend.get_state()
        assert stored is not None
        assert backend.set_state(group.encode(), stored[1])
    assert "closed: no more nodes can join" in scene.text(RUN)
    assert scene.report()["closed"] is True


def test_a_job_that_is_over(scene: Scene) -> None:
    """After the last participant has left as done, its round is told as finished."""
    node = scene.cli.start_exec(scene.endpoint, "1", "--run-id", RUN, "--", "true")
    assert node.end() == 0
    report = scene.report()
    assert (report["finished_round"], report["participants"]) == (1, [])
    assert "finished: round 1 was the last to succeed" in scene.text(RUN)


def test_no_such_run(scene: Scene) -> None:
    """One line with run and endpoint, exit code 1, and no key where there was none."""
    done = scene.status("nobody")
    assert (done.returncode, done.stdout) == (1, b"")
    assert len(done.stderr.splitlines()) == 1
    assert b"no such run: 'nobody' at " + scene.endpoint.encode() in done.stderr
    assert scene.status("nobody", "--json").returncode == 1
    assert scene.store().num_keys() == 0


def test_a_run_that_nobody_has_joined(scene: Scene) -> None:
    """A node that has opened its backend and not joined makes no run yet."""
    C10dRendezvousBackend(scene.store(), RUN)
    assert scene.status(RUN).returncode == 1


def test_looking_changes_nothing(scene: Scene) -> None:
    """The state that nodes keep is the same afterwards, its version included."""
    group = _core.Group()
    group.join(_core.Node("a", 1, 0), _core.GroupSettings(2, 2), 0, 0.0)
    store = scene.store()
    C10dRendezvousBackend(store, RUN).set_state(group.encode())
    before = store.try_get(f"torch.rendezvous.{RUN}")
    scene.report()
    assert store.try_get(f"torch.rendezvous.{RUN}") == before
    assert store.num_keys() == 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("not base64!", "not a rendezvous state"),
        ("AAAA", "job-1"),
        (_core.RUN_MARKER, "delete that key"),
    ],
)
def test_a_key_that_holds_something_else(scene: Scene, value: str, told: str) -> None:
    """What is stored under the run's key and is no state is told as such, with exit code 1."""
    scene.store().set(f"torch.rendezvous.{RUN}", value)
    done = scene.status(RUN)
    assert (done.returncode, done.stdout) == (1, b"")
    assert told in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_the_server_alone(scene: Scene) -> None:
    """Without a run id: endpoint, number of keys, and what a request takes."""
    scene.store().multi_set(["a", "b"], ["1", "2"])
    text = scene.text()
    assert text[:2] == [f"server at {scene.endpoint}: reachable", "keys: 2"]
    assert text[2].startswith("round trip: ")
    assert text[2].endswith(" ms")
    report = json.loads(scene.status("--json").stdout)
    round_trip_s = report.pop("round_trip_s")
    spaces = report.pop("spaces")
    assert spaces["default"]["keys"] == 2
    assert list(spaces) == ["default"]
    assert report.pop("limits") == _core.server_limits()
    assert report == {"endpoint": scene.endpoint, "reachable": True, "keys": 2, "runs": []}
    assert text[3].startswith("name space default: 2 keys, ")
    assert text[4] == "limits: the defaults"
    assert 0 < round_trip_s < 60


@pytest.mark.parametrize("words", [(), (RUN,)])
def test_no_server(cli: Cli, words: tuple[str, ...]) -> None:
    """Exit code 3, and a line that names the endpoint."""
    endpoint = f"127.0.0.1:{free_port()}"
    done = cli.run("status", *words, "--timeout", "0.2", "--endpoint", endpoint)
    assert (done.returncode, done.stdout) == (3, b"")
    assert endpoint in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_no_server_as_json(cli: Cli) -> None:
    """A script that asks for the server gets an answer in either case."""
    endpoint = f"127.0.0.1:{free_port()}"
    done = cli.run("status", "--json", "--timeout", "0.2", "--endpoint", endpoint)
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"endpoint": endpoint, "reachable": False}


def test_a_server_that_is_frozen(scene: Scene) -> None:
    """Exit code 3 when the time is over, not a wait for ever."""
    scene.server.send(signal.SIGSTOP)
    try:
        for words in ((), (RUN,)):
            done = scene.status(*words, "--timeout", "0.3")
            assert (done.returncode, done.stdout) == (3, b"")
            assert len(done.stderr.splitlines()) == 1
    finally:
        scene.server.send(signal.SIGCONT)


def test_the_endpoint_of_the_environment(scene: Scene) -> None:
    """As for the other commands, RENDEZVOUS_ENDPOINT names the server."""
    done = scene.cli.run("status", RENDEZVOUS_ENDPOINT=scene.endpoint)
    assert done.stdout.decode().splitlines()[0] == f"server at {scene.endpoint}: reachable"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("",), "a run id has 1 to 1024 bytes"),
        (("x" * 1025,), "1025"),
        (("\udcff",), "not UTF-8"),
        (("a", "b"), "unrecognized arguments: b"),
        (("--endpoint", "a:b:c"), "--endpoint"),
        (("--timeout", "soon"), "--timeout"),
    ],
)
def test_wrong_arguments(cli: Cli, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, the usage, and what is wrong."""
    done = cli.run("status", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: rendezvous status" in done.stderr
    assert told in done.stderr.decode()
