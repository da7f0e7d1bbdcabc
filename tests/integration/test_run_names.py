"""Jobs that share a store: each has a name of its own there, and keys of its own."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli, Running, free_port, report_command, reports_of_round, stop

from rendezvous import FileStore, TCPStore, open_store

# What the command of each job does in its store.
COUNT = ("--", sys.executable, "-m", "rendezvous", "add", "count")


@pytest.fixture(params=["serve", "a server of a program", "file", "etcd"])
def shared(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """What tells `exec` of a store that no node of a job hosts."""
    if request.param == "serve":
        yield ("--endpoint", cli.serve()[1])
    elif request.param == "file":
        # Without users, a file is as if it were new: this one is in use by another job.
        path = str(tmp_path / "store")
        with FileStore(path):
            yield ("--endpoint", path, "--rdzv-conf", "store_type=file")
    elif request.param == "etcd":
        endpoint = request.getfixturevalue("etcd_endpoint")
        yield ("--endpoint", endpoint, "--backend", "etcd", "--local-addr", "127.0.0.1")
    else:
        server = request.getfixturevalue("server")
        yield ("--endpoint", f"127.0.0.1:{server.port}")


def alone(cli: Cli, *words: str, **env: str) -> Running:
    """A job of one node, whose command's module is the installed one."""
    return cli.start("exec", "--nodes", "1", *words, **env)


def test_a_job_without_a_name_is_refused_where_others_meet(
    cli: Cli, shared: tuple[str, ...]
) -> None:
    """It is told what to do, before anybody meets."""
    running = alone(cli, *shared, "--", "true")
    assert running.end() == 2
    assert "give every node of this job the same run id" in running.stderr


def test_a_job_is_called_as_its_workload_manager_does(
    cli: Cli, tmp_path: Path, shared: tuple[str, ...]
) -> None:
    """And the log says so."""
    running = alone(cli, *shared, *report_command(tmp_path), SLURM_JOB_ID="17", SLURM_STEP_ID="2")
    [report] = reports_of_round(tmp_path, 1)
    assert report["env"]["RENDEZVOUS_RUN_ID"] == "slurm-17.2"
    assert report["env"]["TORCHELASTIC_RUN_ID"] == "slurm-17.2"
    stop(tmp_path)
    assert running.end() == 0
    assert "slurm-17.2" in running.stderr
    assert "SLURM" in running.stderr


def test_what_the_user_says_comes_first(cli: Cli, tmp_path: Path, shared: tuple[str, ...]) -> None:
    """Also where something else is found."""
    words = ("--run-id", "mine", *report_command(tmp_path))
    running = alone(cli, *shared, *words, SLURM_JOB_ID="17")
    [report] = reports_of_round(tmp_path, 1)
    assert report["env"]["RENDEZVOUS_RUN_ID"] == "mine"
    stop(tmp_path)
    assert running.end() == 0


@pytest.mark.parametrize("nodes", [1, 2])
def test_where_a_node_hosts_the_store_its_job_needs_no_name(
    cli: Cli, tmp_path: Path, nodes: int
) -> None:
    """Nobody else comes there; the nodes that do not host it see that, too."""
    endpoint = f"127.0.0.1:{free_port()}"
    command = report_command(tmp_path)
    running = [
        cli.start_exec(endpoint, str(nodes), *command, SLURM_JOB_ID="17") for _ in range(nodes)
    ]
    found = reports_of_round(tmp_path, nodes)
    assert {report["env"]["RENDEZVOUS_RUN_ID"] for report in found} == {"default"}
    stop(tmp_path)
    assert [each.end() for each in running] == [0] * nodes


def test_jobs_on_one_store_do_not_meet_in_each_others_keys(
    cli: Cli, shared: tuple[str, ...]
) -> None:
    """The store that a command is told of is its run's own, whatever the run is called."""
    # Of all jobs of this test run.
    base = uuid.uuid4().hex
    names = ("", "other", "a", "a/b", "a/", "a b", "a%20b", "ü", "?", "a#b")
    for name, count in [*((name, "1") for name in names), *((name, "2") for name in names[:2])]:
        running = alone(cli, *shared, "--run-id", base + name, *COUNT)
        assert running.end() == 0, running.stderr
        assert running.stdout.strip() == count, name


@pytest.mark.parametrize("scheme", ["tcp", "etcd"])
def test_a_command_does_not_become_a_node_of_the_run_that_it_is_a_part_of(
    cli: Cli, scheme: str
) -> None:
    """`exec` within a command needs a name; said before anything is asked of the store."""
    outer = {"RENDEZVOUS_ENDPOINT": f"{scheme}://127.0.0.1:1/runs/7", "RENDEZVOUS_RUN_ID": "7"}
    words = () if scheme == "tcp" else ("--backend", "etcd", "--endpoint", "127.0.0.1:1")
    running = alone(cli, *words, "--", "true", SLURM_JOB_ID="7", **outer)
    assert running.end() == 2
    assert "give a --run-id" in running.stderr


def test_a_key_space_in_a_url_is_the_same_for_all_who_read_it(cli: Cli) -> None:
    """`open_store`, the store commands, `status`, and `exec` within a command of exec's."""
    _, endpoint = cli.serve()
    url = f"tcp://{endpoint}/some/space"
    for words in (("--endpoint", url), ()):
        assert cli.run("add", "n", *words, RENDEZVOUS_ENDPOINT=url).returncode == 0
    with open_store(url) as store:
        assert store.get("n") == b"2"
    host, _, port = endpoint.rpartition(":")
    with TCPStore(host, int(port)) as store:
        assert store.list_keys() == ["some/space/n"]
    assert cli.run("keys", RENDEZVOUS_ENDPOINT=url).stdout == b"n\n"
    assert cli.run("status", RENDEZVOUS_ENDPOINT=url).returncode == 0
    inner = alone(cli, "--run-id", "inner", *COUNT, RENDEZVOUS_ENDPOINT=url)
    assert (inner.end(), inner.stdout.strip()) == (0, "1")
    with open_store(f"tcp://{endpoint}/runs/inner") as store:
        assert store.get("count") == b"1"


@pytest.mark.parametrize("command", ["true", "false"])
def test_a_job_that_is_done_leaves_nothing_of_its_rounds(cli: Cli, command: str) -> None:
    """Whether it has failed or not, and whoever leaves last."""
    _, endpoint = cli.serve()
    words = ("--run-id", "job", "--max-restarts", "1", "--", command)
    nodes = [cli.start_exec(endpoint, "3", *words) for _ in range(3)]
    assert {node.end() for node in nodes} <= {0, 1, 93}
    keys = cli.run("keys", "--endpoint", endpoint).stdout.decode().split()
    assert keys in ([], ["torch.rendezvous.job"]), keys
