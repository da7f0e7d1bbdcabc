"""`rendezvous exec` on several nodes: ranks, losses, newcomers, and the host of the store."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from support.cli import Cli, free_port, report_command, reports, reports_of_round, stop, wait_for
from support.proc import alive

from rendezvous._core import GroupSettings, Node, RunClient, TCPStore

# A lost node is noticed after 1.5 s.
_CONF = "keep_alive_interval=0.5,keep_alive_max_attempt=3,last_call_timeout=1"
# In a store that no node hosts, a run has a name.
_CLIENT = ("--run-id", "default", "--rdzv-conf", f"{_CONF},is_host=0")
_HOST = ("--rdzv-conf", f"{_CONF},is_host=1")


def test_sixteen_nodes_lose_one_and_take_another(cli: Cli, tmp_path: Path) -> None:
    """All get distinct ranks and one address; a killed node is replaced in a new round."""
    nodes = 16
    endpoint = f"127.0.0.1:{free_port()}"
    command = report_command(tmp_path)
    # The host comes last: the others wait for its port to open.
    clients = [cli.start_exec(endpoint, str(nodes), *_CLIENT, *command) for _ in range(nodes - 1)]
    host = cli.start_exec(endpoint, str(nodes), *_HOST, *command)

    first = reports_of_round(tmp_path, nodes)
    assert {report["env"]["WORLD_SIZE"] for report in first} == {str(nodes)}
    assert len({report["parent"] for report in first}) == nodes
    assert len({_master(report) for report in first}) == 1

    victim = clients[nodes // 2]
    victims_command = next(r["pid"] for r in first if r["parent"] == victim.process.pid)
    victim.send(signal.SIGKILL)
    wait_for("the end of the victim's command", lambda: not alive(victims_command))
    newcomer = cli.start_exec(endpoint, str(nodes), *_CLIENT, *command)

    round_before = max(int(report["env"]["RENDEZVOUS_ROUND"]) for report in first)
    second = reports_of_round(tmp_path, nodes, after=round_before)
    parents = {report["parent"] for report in second}
    assert newcomer.process.pid in parents
    assert victim.process.pid not in parents
    assert len({_master(report) for report in second}) == 1
    # Nobody runs two commands: those of the first round have ended.
    assert not any(alive(report["pid"]) for report in first)

    stop(tmp_path)
    for running in [*(c for c in clients if c is not victim), newcomer, host]:
        assert running.end() == 0, running.stderr


def test_the_stores_host_is_killed_and_replaced(cli: Cli, tmp_path: Path) -> None:
    """Who comes next on that machine serves an empty store; the others put the state back into it,
    and form a new round with the newcomer."""
    nodes = 4
    endpoint = f"127.0.0.1:{free_port()}"
    command = report_command(tmp_path)
    anywhere = ("--rdzv-conf", _CONF)  # each may be the host: the first one is
    host = cli.start_exec(endpoint, str(nodes), *anywhere, *command)
    host.line("serving the rendezvous store")
    others = [cli.start_exec(endpoint, str(nodes), *anywhere, *command) for _ in range(nodes - 1)]
    first = reports_of_round(tmp_path, nodes)
    assert {report["env"]["RENDEZVOUS_ROUND"] for report in first} == {"1"}

    host.send(signal.SIGKILL)
    host.process.wait()
    newcomer = cli.start_exec(endpoint, str(nodes), *anywhere, *command)
    second = reports_of_round(tmp_path, nodes, after=1)
    assert newcomer.process.pid in {report["parent"] for report in second}
    assert host.process.pid not in {report["parent"] for report in second}
    assert len({_master(report) for report in second}) == 1

    stop(tmp_path)
    for running in [*others, newcomer]:
        assert running.end() == 0, running.stderr


def test_a_newcomer_makes_a_larger_round(cli: Cli, tmp_path: Path) -> None:
    """With --nodes 1:2, a second node stops the first one's command and both start together."""
    endpoint = f"127.0.0.1:{free_port()}"
    command = report_command(tmp_path)
    host = cli.start_exec(endpoint, "1:2", *_HOST, *command)
    [alone] = reports_of_round(tmp_path, 1)
    assert alone["env"]["WORLD_SIZE"] == "1"
    second = cli.start_exec(endpoint, "1:2", *_CLIENT, *command)
    both = reports_of_round(tmp_path, 2)
    assert {report["env"]["WORLD_SIZE"] for report in both} == {"2"}
    assert "the membership changed" in host.stderr
    assert not alive(alone["pid"])
    stop(tmp_path)
    assert host.end() == 0
    assert second.end() == 0


def test_the_host_lingers_until_the_others_are_done(cli: Cli, tmp_path: Path) -> None:
    """The node whose command ends first keeps the store for the others, then ends by itself."""
    endpoint = f"127.0.0.1:{free_port()}"
    host = cli.start_exec(endpoint, "2", *_HOST, "--", "true")
    other = cli.start_exec(endpoint, "2", *_CLIENT, *report_command(tmp_path))
    host.line("still use")
    assert other.process.poll() is None
    assert cli.run("add", "n", "--endpoint", endpoint).returncode == 0
    stop(tmp_path)
    assert other.end() == 0
    assert host.end() == 0


def test_a_signal_ends_lingering(cli: Cli, tmp_path: Path) -> None:
    """The user decides that nobody is waited for; the command's success stands."""
    endpoint = f"127.0.0.1:{free_port()}"
    host = cli.start_exec(endpoint, "2", *_HOST, "--", "true")
    cli.start_exec(endpoint, "2", *_CLIENT, *report_command(tmp_path))
    host.line("still use")
    host.send(signal.SIGINT)
    assert host.end() == 0
    assert "not waiting for other nodes" in host.stderr


def test_lingering_has_an_end(cli: Cli, tmp_path: Path) -> None:
    """linger_timeout bounds how long the host stays for the others."""
    endpoint = f"127.0.0.1:{free_port()}"
    conf = ("--rdzv-conf", "linger_timeout=0.2")
    host = cli.start_exec(endpoint, "2", *_HOST, *conf, "--", "true")
    cli.start_exec(endpoint, "2", *_CLIENT, *report_command(tmp_path))
    assert host.end() == 0
    assert "linger_timeout" in host.stderr


def test_a_failed_node_stops_the_others(cli: Cli, tmp_path: Path) -> None:
    """Its loss is a change of membership: the others stop their commands, wait for a new one, if
    that is what the user said."""
    endpoint = f"127.0.0.1:{free_port()}"
    host = cli.start_exec(endpoint, "2", *_HOST, *report_command(tmp_path))
    wait = "while ! test -e fail; do sleep 0.05; done; exit 9"
    patient = (*_CLIENT, "--wait-for-replacements")
    failing = cli.start_exec(endpoint, "2", *patient, "--", "sh", "-c", wait)
    host.line("rank ")
    (tmp_path / "fail").touch()
    assert failing.end() == 9
    host.line("the membership changed")
    # A replacement makes the job go on.
    second = cli.start_exec(endpoint, "2", *_CLIENT, *report_command(tmp_path))
    reports_of_round(tmp_path, 2)
    stop(tmp_path)
    assert host.end() == 0
    assert second.end() == 0


def test_a_node_that_is_done_stops_nobody(cli: Cli, tmp_path: Path) -> None:
    """Success is no change of membership: the others run to their own end."""
    endpoint = f"127.0.0.1:{free_port()}"
    host = cli.start_exec(endpoint, "2", *_HOST, *report_command(tmp_path))
    done = cli.start_exec(endpoint, "2", *_CLIENT, "--", "true")
    assert done.end() == 0
    stop(tmp_path)
    assert host.end() == 0
    assert "the membership changed" not in host.stderr


def test_rank_0_serves_the_workers_until_the_others_are_done(cli: Cli, tmp_path: Path) -> None:
    """Workers of other ranks may use the bootstrap store up to their own end."""
    endpoint = f"127.0.0.1:{free_port()}"
    # Ranks follow the addresses.
    first = ("--local-addr", "127.0.0.1")
    second = ("--local-addr", "127.0.0.2")
    rank_0 = cli.start_exec(endpoint, "2", *_CLIENT, *first, "--", "true")
    host = cli.start_exec(endpoint, "2", *_HOST, *second, *report_command(tmp_path))
    rank_0.line("still uses the bootstrap store")
    [report] = reports(tmp_path)
    with socket.create_connection(("127.0.0.1", int(_master(report)[1])), 60):
        pass
    stop(tmp_path)
    assert rank_0.end() == 0
    assert host.end() == 0


@pytest.mark.parametrize("member_hosts", [False, True])
def test_a_spare_has_done_its_part_when_the_job_is_done(
    cli: Cli, tmp_path: Path, member_hosts: bool
) -> None:
    """Who waited for a place until the others finished the job ends with success, also when the
    store's host is one of those who finished."""
    endpoint = f"127.0.0.1:{free_port()}" if member_hosts else cli.serve()[1]
    options = _HOST if member_hosts else _CLIENT
    member = cli.start_exec(endpoint, "1", *options, *report_command(tmp_path))
    reports_of_round(tmp_path, 1)
    spare = cli.start_exec(endpoint, "1", *_CLIENT, "--", "false")

    store = TCPStore("127.0.0.1", int(endpoint.rpartition(":")[2]), timeout=60)
    eye = RunClient(store, "default", Node("eye", 0, 0), GroupSettings(1, 1), grace=60)
    wait_for("the spare", lambda: eye.status(60).spares == 1)
    store.close()
    eye.close()
    stop(tmp_path)
    assert member.end() == 0
    assert spare.end() == 0, spare.stderr
    assert "the job finished" in spare.stderr


def _master(report: dict[str, dict[str, str]]) -> tuple[str, str]:
    return report["env"]["MASTER_ADDR"], report["env"]["MASTER_PORT"]
