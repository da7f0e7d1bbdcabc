"""`rendezvous exec` and `demo` over a real etcd: nodes, members and leaders that are lost."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli, Running, report_command, reports_of_round, stop, wait_for
from support.etcd import NO_ETCD, Cluster, binaries
from support.proc import alive

# A lost node is noticed after 3 s, and a change of etcd's leader may double that.
_CONF = "keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=1,heartbeat_timeout=10"
# However slow this machine is, nobody is taken for dead.
_PATIENT_CONF = _CONF.replace("max_attempt=3", "max_attempt=60")


@pytest.fixture
def trio() -> Iterator[Cluster]:
    """Three members, to be harmed."""
    found = binaries()
    if not found:
        pytest.skip(NO_ETCD)
    with Cluster(found[-1], 3) as cluster:
        yield cluster


def start(cli: Cli, cluster: Cluster, nodes: int, command: list[str], conf: str = _CONF) -> Running:
    words = ("--backend", "etcd", "--rdzv-conf", conf, "--local-addr", "127.0.0.1", *command)
    words = ("--run-id", "job", *words)
    return cli.start_exec(cluster.endpoints, str(nodes), "-v", *words)


def test_sixteen_nodes_lose_one_and_etcds_leader_and_take_another(
    cli: Cli, tmp_path: Path, trio: Cluster
) -> None:
    """Etcd speaks no v2. All get distinct ranks; a killed node is replaced in a new round, while
    one member of three is gone."""
    nodes = 16
    command = report_command(tmp_path)
    running = [start(cli, trio, nodes, command) for _ in range(nodes)]
    first = reports_of_round(tmp_path, nodes)
    assert {report["env"]["WORLD_SIZE"] for report in first} == {str(nodes)}
    assert len({report["parent"] for report in first}) == nodes
    assert len({_master(report) for report in first}) == 1

    victim = running.pop(nodes // 2)
    victims_command = next(r["pid"] for r in first if r["parent"] == victim.process.pid)
    victim.send(signal.SIGKILL)
    trio.leader().kill()
    wait_for("the end of the victim's command", lambda: not alive(victims_command))
    newcomer = start(cli, trio, nodes, command)

    round_before = max(int(report["env"]["RENDEZVOUS_ROUND"]) for report in first)
    second = reports_of_round(tmp_path, nodes, after=round_before)
    parents = {report["parent"] for report in second}
    assert newcomer.process.pid in parents
    assert victim.process.pid not in parents
    assert len({_master(report) for report in second}) == 1
    assert not any(alive(report["pid"]) for report in first)

    stop(tmp_path)
    for each in [*running, newcomer]:
        assert each.end() == 0, each.stderr


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_the_node_that_leads_is_killed_or_frozen(
    cli: Cli, tmp_path: Path, trio: Cluster, signum: int
) -> None:
    """Another one leads; what was frozen finds out when it goes on, and is in a later round."""
    nodes = 3
    command = report_command(tmp_path)
    running = [start(cli, trio, nodes, command) for _ in range(nodes)]
    reports_of_round(tmp_path, nodes)
    leader = wait_for(
        "a leader", lambda: next((r for r in running if "is the leader" in r.stderr), None)
    )
    others = [each for each in running if each is not leader]
    leader.send(signum)
    for each in others:
        each.line("the membership changed")
    wait_for("a new leader", lambda: any("is the leader" in each.stderr for each in others))
    if signum == signal.SIGSTOP:
        leader.send(signal.SIGCONT)
        newcomer = leader
    else:
        newcomer = start(cli, trio, nodes, command)
        assert leader.end() == -signal.SIGKILL
    second = reports_of_round(tmp_path, nodes, after=1)
    assert newcomer.process.pid in {report["parent"] for report in second}
    stop(tmp_path)
    for each in [*others, newcomer]:
        assert each.end() == 0, each.stderr


def test_a_majority_is_lost_and_comes_back(cli: Cli, tmp_path: Path, trio: Cluster) -> None:
    """Meanwhile the commands run on; afterwards nobody has been lost by it."""
    command = report_command(tmp_path)
    running = [start(cli, trio, 2, command, _PATIENT_CONF) for _ in range(2)]
    first = reports_of_round(tmp_path, 2)
    for member in trio.members[:2]:
        member.kill()
    for each in running:
        each.line("failed; retrying")
    assert all(alive(report["pid"]) for report in first)
    for member in trio.members[:2]:
        member.start()
    for each in running:
        each.line("arrive again")
    stop(tmp_path)
    for each in running:
        assert each.end() == 0, each.stderr
        assert "the membership changed" not in each.stderr


def test_processes_of_the_demo_meet_at_an_etcd(cli: Cli) -> None:
    """The demo brings its own."""
    if not binaries():
        pytest.skip(NO_ETCD)
    done = cli.run("demo", "--nodes", "4", "--backend", "etcd")
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "4 distinct ranks, world size 4" in out
    assert re.search(r"^MASTER_ADDR=\S+ MASTER_PORT=\d+$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--backend", "etcd", "--endpoint", "ftp://a"), "scheme"),
        (("--etcd-user", "me", "--endpoint", "a"), "--backend etcd"),
    ],
)
def test_mistakes_are_found_before_anybody_waits(
    cli: Cli, words: tuple[str, ...], what: str
) -> None:
    """Exit code 2, and a sentence."""
    done = cli.run("exec", *words, "--nodes", "1", "--", "true")
    assert done.returncode == 2
    assert what in done.stderr.decode()


def _master(report: dict[str, dict[str, str]]) -> tuple[str, str]:
    return report["env"]["MASTER_ADDR"], report["env"]["MASTER_PORT"]
