"""`rendezvous status` of runs on etcd, and the store commands on stores that URLs name."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, free_port, report_command, reports_of_round, stop, wait_for
from support.etcd_kinds import Access

from rendezvous import FileStore, Server, _core
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend
from rendezvous.backends.etcd.run.keys import RunKeys, Wish, node_name

# In every test, nobody is taken for dead, however slow the machine.
CONF = "keep_alive_interval=1200"


@pytest.fixture
def run_id(tmp_path: Path) -> str:
    """Of this test alone, as all share one etcd."""
    return f"job {tmp_path}"


def exec_words(endpoint: str, run_id: str, nodes: str, *words: str) -> list[str]:
    return [
        *("exec", "--backend", "etcd", "--endpoint", endpoint, "--nodes", nodes),
        *("--run-id", run_id, "--rdzv-conf", CONF, "--local-addr", "127.0.0.1", *words),
    ]


def status_of(cli: Cli, run_id: str, *words: str) -> dict[str, Any]:
    done = cli.run("status", run_id, "--json", *words)
    assert done.stderr == b""
    report: dict[str, Any] = json.loads(done.stdout)
    is_over = report["finished_round"] and not report["participants"]
    assert done.returncode == (0 if report["complete"] or is_over else 4)
    return report


def test_a_run_that_an_elected_node_keeps(
    cli: Cli, tmp_path: Path, etcd_endpoint: str, run_id: str
) -> None:
    """While it forms, and once it is complete, with who leads; named as for exec, or by URL."""
    words = exec_words(etcd_endpoint, run_id, "2", *report_command(tmp_path))
    first = cli.start(*words)
    asked = ("--backend", "etcd", "--endpoint", etcd_endpoint)

    def forming() -> dict[str, Any] | None:
        done = cli.run("status", run_id, "--json", *asked)
        report: dict[str, Any] = json.loads(done.stdout) if done.returncode in {0, 4} else {}
        return report if report.get("participants") else None

    report = wait_for("the first node", forming)
    assert (report["kept_by"], report["complete"], report["round"]) == ("leader", False, 1)
    assert [node["rank"] for node in report["participants"]] == [None]
    second = cli.start(*words)
    reports_of_round(tmp_path, 2)
    report = status_of(cli, run_id, "--endpoint", f"etcd://{etcd_endpoint}")
    assert (report["complete"], report["world_size"]) == (True, 2)
    pids = {node["pid"] for node in report["participants"]}
    assert pids == {first.process.pid, second.process.pid}
    assert sorted(node["rank"] for node in report["participants"]) == [0, 1]
    assert report["leader"]["pid"] in pids
    text = cli.run("status", run_id, *asked).stdout.decode().splitlines()
    assert re.fullmatch(
        rf"run '{re.escape(run_id)}' at {etcd_endpoint}, kept by 127\.0\.0\.1 \(pid \d+\), the "
        rf"elected leader",
        text[0],
    )
    assert text[1] == "round 1: complete, with 2 ranks"
    stop(tmp_path)
    assert [each.end() for each in (first, second)] == [0, 0]


def test_a_run_that_its_nodes_keep(cli: Cli, etcd_endpoint: str, run_id: str) -> None:
    """The state under one key, at the prefix that the run has."""
    group = _core.Group()
    group.join(_core.Node("a", 1, 0), _core.GroupSettings(2, 2), 0, 0.0)
    EtcdRendezvousBackend(EtcdClient(etcd_endpoint), run_id, "/mine").set_state(group.encode())
    asked = ("--endpoint", f"etcd://{etcd_endpoint}", "--rdzv-conf", "key_prefix=/mine")
    report = status_of(cli, run_id, *asked)
    assert (report["kept_by"], report["leader"]) == ("store", None)
    assert [node["addr"] for node in report["participants"]] == ["a"]
    done = cli.run("status", run_id, "--endpoint", f"etcd://{etcd_endpoint}")
    assert done.returncode == 1
    assert b"no such run" in done.stderr


def test_a_value_that_is_no_run(cli: Cli, etcd_endpoint: str, run_id: str) -> None:
    """Exit code 1, and a line that says so."""
    key = f"/torch/elastic/rendezvous/{run_id}".encode()
    EtcdClient(etcd_endpoint).put(key, b"what torch's etcd-v2 wrote")
    done = cli.run("status", run_id, "--endpoint", f"etcd://{etcd_endpoint}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not a rendezvous state" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_members_alone(cli: Cli, etcd_endpoint: str) -> None:
    """Without a run id: who of them answers, and who does not."""
    dead = f"127.0.0.1:{free_port()}"
    asked = ("--backend", "etcd", "--endpoint", f"{etcd_endpoint},{dead}", "--timeout", "60")
    done = cli.run("status", *asked)
    text = sorted(done.stdout.decode().splitlines(), key=lambda line: line.startswith(" "))
    assert done.returncode == 0
    assert text[0].endswith("1 of 2 members answer")
    assert any(re.fullmatch(rf"  {etcd_endpoint}: [\d.]+ ms a read", line) for line in text)
    assert any(line.startswith(f"  {dead}: ") and "refused" in line for line in text)
    members = json.loads(cli.run("status", "--json", *asked).stdout)["members"]
    assert {each["endpoint"]: each["reachable"] for each in members} == {
        etcd_endpoint: True,
        dead: False,
    }


def test_members_may_be_named_in_every_way(cli: Cli, etcd_endpoint: str) -> None:
    """A scheme before each, a store's URL, in the configuration: as exec takes them."""
    dead = f"127.0.0.1:{free_port()}"
    for words in (
        ("--endpoint", f"http://{etcd_endpoint},http://{dead}"),
        ("--endpoint", f"{etcd_endpoint},{dead}/", "--backend", "etcd"),
        ("--endpoint", f"etcd://{etcd_endpoint},{dead}/prefix?timeout=3&transport=gateway"),
        ("--backend", "etcd", "--rdzv-conf", f"endpoints={etcd_endpoint}"),
    ):
        done = cli.run("status", *words, "--timeout", "60")
        assert done.returncode == 0, done.stderr
        count = 1 if "--rdzv-conf" in words else 2
        assert f"1 of {count} members answer" in done.stdout.decode()


def test_a_user_who_may_only_see_runs_sees_whether_etcd_is_there(
    cli: Cli, etcd_access: Callable[[str], Access]
) -> None:
    """What is asked for is below the run's prefix; a refusal is an answer, and not a silence."""
    access = etcd_access("etcd-3.4-secure")
    run: Callable[..., subprocess.CompletedProcess[bytes]] = cli.run
    settings = access.settings("status")
    conf = ",".join(f"{key}={value}" for key, value in settings.items())
    asked = ("--backend", "etcd", "--endpoint", access.endpoints, "--rdzv-conf", conf)
    done = run("status", *asked, "--timeout", "60", **access.environment)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 members answer" in done.stdout.decode()
    elsewhere = ("--rdzv-conf", "key_prefix=/elsewhere")
    for words, environment in ((elsewhere, access.environment), ((), {})):
        done = run("status", *asked, *words, "--timeout", "60", **environment)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"refused" in done.stderr


@pytest.mark.parametrize("words", [(), ("job",)])
def test_no_etcd(cli: Cli, words: tuple[str, ...]) -> None:
    """Exit code 3, and one line."""
    dead = f"127.0.0.1:{free_port()}"
    done = cli.run("status", *words, "--endpoint", f"etcd://{dead}", "--timeout", "0.3")
    assert (done.returncode, done.stdout) == (3, b"")
    assert dead in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--endpoint", "ftp://node0"), "unknown scheme 'ftp'"),
        (("--endpoint", "etcd://h", "--rdzv-conf", "ca_cert=/none"), "ca_cert '/none'"),
        (("--endpoint", "etcd://h", "--rdzv-conf", "transport=x"), "transport is 'x'"),
        (("--endpoint", "etcd://h:0"), "port 0"),
        (("--endpoint", "etcd://h?run_id=x"), "unknown option 'run_id'"),
        (("--endpoint", "etcd://me:s3cret@h"), "RENDEZVOUS_ETCD_PASSWORD"),
        (("--endpoint", "etcd://h?password=s3cret"), "RENDEZVOUS_ETCD_PASSWORD"),
        (("--rdzv-conf", "key_prefix=/x"), "--backend etcd"),
        (("--backend", "etcd-v2"), "no such choice"),
    ],
)
def test_wrong_arguments_of_status(cli: Cli, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, the usage, and what is wrong."""
    done = cli.run("status", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: rendezvous status" in done.stderr
    assert told in done.stderr.decode()
    assert b"s3cret" not in done.stderr


def test_the_command_of_exec_finds_the_runs_store(
    cli: Cli, tmp_path: Path, etcd_endpoint: str, run_id: str
) -> None:
    """RENDEZVOUS_ENDPOINT is a URL that the store commands, `status` and `open_store` take."""
    words = exec_words(etcd_endpoint, run_id, "1", *report_command(tmp_path))
    running = cli.start(*words)
    (report,) = reports_of_round(tmp_path, 1)
    url = report["env"]["RENDEZVOUS_ENDPOINT"]
    assert url.startswith(f"etcd://{etcd_endpoint}/torch/elastic/store/")
    assert cli.run("add", "counter", RENDEZVOUS_ENDPOINT=url).stdout == b"1\n"
    assert cli.run("add", "counter", RENDEZVOUS_ENDPOINT=url).stdout == b"2\n"
    done = cli.run("status", run_id, RENDEZVOUS_ENDPOINT=url)
    assert b"round 1: complete, with 1 rank" in done.stdout
    stop(tmp_path)
    assert running.end() == 0


def test_store_commands_take_urls(cli: Cli, tmp_path: Path, etcd_endpoint: str) -> None:
    """Of etcd, a file, and a server with a prefix or torch's protocol."""
    held = FileStore(tmp_path / "held")
    with Server() as server:
        urls = [
            f"etcd://{etcd_endpoint}{tmp_path}?timeout=60",
            f"file://{tmp_path}/store?job_id=a",
            f"file://{tmp_path}/held",
            f"tcp://127.0.0.1:{server.port}/prefix",
            f"tcp://127.0.0.1:{server.port}?protocol=c10d",
        ]
        for url in urls:
            assert cli.run("cas", "k", "", "v", "--endpoint", url).returncode == 0
            done = cli.run("get", "k", "--endpoint", url)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"v", b"")
            assert b"k" in cli.run("keys", "--endpoint", url).stdout.splitlines()
    assert held.get("k") == b"v"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h", "scheme is 'redis'"),
        ("tcp://h?tiemout=1", "unknown option 'tiemout'"),
        ("etcd://h?ca_cert=/none", "ca_cert '/none'"),
        ("etcds://h/x?user=me&password=s3cret", "RENDEZVOUS_ETCD_PASSWORD"),
    ],
)
def test_a_url_that_is_wrong_is_a_wrong_argument(cli: Cli, url: str, told: str) -> None:
    """Exit code 2, the usage, and what is wrong."""
    done = cli.run("get", "k", "--endpoint", url)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: rendezvous get" in done.stderr
    assert told in done.stderr.decode()
    assert b"s3cret" not in done.stderr


def test_the_timeout_of_a_command_comes_before_the_urls(cli: Cli) -> None:
    """It bounds everything, connecting included, which would end after an hour otherwise."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}?timeout=3600"
        done = cli.run("get", "k", "--timeout", "0.3", "--endpoint", url)
    assert done.returncode == 3


def test_what_nobody_has_answered_yet_is_said_to_be_so(
    cli: Cli, etcd_endpoint: str, run_id: str
) -> None:
    """Nodes that have asked to join a run without a leader are in no round."""
    keys = RunKeys("/torch/elastic/rendezvous", run_id)
    client = EtcdClient(etcd_endpoint)
    for pid in (1, 2):
        wish = Wish.to_join(0, _core.GroupSettings(2, 2), _core.NodeFacts(), "nonce")
        client.put(keys.node(node_name(_core.Node("a", pid, 0))), wish.encode())
    asked = ("--endpoint", f"etcd://{etcd_endpoint}")
    report = status_of(cli, run_id, *asked)
    assert (report["complete"], report["participants"], report["leader"]) == (False, [], None)
    assert [node["pid"] for node in report["asking"]] == [1, 2]
    text = cli.run("status", run_id, *asked).stdout.decode().splitlines()
    assert text[0].endswith("kept by an elected node; none is elected at the moment")
    assert text[-3:] == ["asking: 2", "  a (pid 1)", "  a (pid 2)"]
