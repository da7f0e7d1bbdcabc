"""`torchrun --rdzv-backend=rendezvous`: real agents and workers, of which some are killed."""

from __future__ import annotations

import importlib.util
import signal
import time
import uuid
from pathlib import Path

import pytest
from support.torchrun import Job

from rendezvous import Server
from rendezvous._base.exit_codes import DO_NOT_RESTART

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

# A node is lost after two intervals; who has enough nodes waits for more for a second.
QUICK = "--rdzv-conf=last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=2"


def endings(job: Job) -> list[int]:
    return [agent.code() for agent in job.agents]


def test_two_agents_meet_and_their_workers_sum(job: Job, free_port: int) -> None:
    """One flag is all: ranks, the world's size and the workers' store are right."""
    where = f"127.0.0.1:{free_port}"
    options = ("--nnodes=2", "--nproc-per-node=2", "--rdzv-conf=no_such_thing=1")
    agents = [job.start(*options, run_id="", endpoint=where) for _ in range(2)]
    reports = job.meets(4, agents)
    assert sorted(report["rank"] for report in reports) == [0, 1, 2, 3]
    assert all(report["sum"] == 4 for report in reports)
    # Rank 0's agent serves the workers' store.
    assert {report["env"]["TORCHELASTIC_USE_AGENT_STORE"] for report in reports} == {"True"}
    job.stop()
    assert endings(job) == [0, 0]
    for agent in agents:
        assert "the setting 'no_such_thing' has no effect" in agent.all_output()
        assert "Traceback" not in agent.output


def test_workers_bind_the_port_themselves_when_torch_is_told_so(job: Job, free_port: int) -> None:
    """TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: rank 0's worker serves its own store."""
    agents = [
        job.start(
            "--nnodes=2",
            endpoint=f"127.0.0.1:{free_port}",
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
        )
        for _ in range(2)
    ]
    reports = job.meets(2, agents)
    assert {report["env"]["TORCHELASTIC_USE_AGENT_STORE"] for report in reports} == {"False"}
    job.stop()
    assert endings(job) == [0, 0]


@pytest.mark.parametrize("kind", ["server", "etcd"])
def test_others_go_on_when_an_agent_is_killed_and_a_new_one_joins(
    job: Job, kind: str, request: pytest.FixtureRequest
) -> None:
    """2:4 nodes, a store that outlives them all: three, two after a SIGKILL, three again."""
    options = ["--nnodes=2:4", "--max-restarts=5", QUICK]
    if kind == "server":
        where = f"127.0.0.1:{request.getfixturevalue('server').port}"
    else:
        where = f"etcd://{request.getfixturevalue('etcd_endpoint')}"
        # On one machine alone, no address of etcd's says how others reach a node.
        options += [f"--rdzv-id={uuid.uuid4()}", "--local-addr=127.0.0.1"]
    agents = [job.start(*options, endpoint=where) for _ in range(3)]
    job.meets(3, agents)
    killed = agents.pop()
    killed.signal(signal.SIGKILL)
    second = job.meets(2, agents)
    # They train on from where they were, and it was no restart of theirs.
    assert all(report["from"] > 0 for report in second)
    assert {report["env"]["TORCHELASTIC_RESTART_COUNT"] for report in second} == {"0"}
    agents.append(job.start(*options, endpoint=where))
    third = job.meets(3, agents)
    assert min(report["from"] for report in third) > min(report["from"] for report in second)
    job.stop()
    assert [agent.code() for agent in agents] == [0, 0, 0]


def test_others_go_on_when_the_store_and_rank_0_are_killed_and_started_again(
    job: Job, free_port: int
) -> None:
    """The agent that hosts the store comes back empty; those that are left meet there again."""
    options = ("--nnodes=2:4", "--max-restarts=5", QUICK)
    where = f"127.0.0.1:{free_port}"
    agents = [job.start(*options, endpoint=where)]
    agents[0].wait_for_text("serving the rendezvous store")
    agents += [job.start(*options, endpoint=where) for _ in range(2)]
    job.meets(3, agents)
    agents[0].signal(signal.SIGKILL)
    agents[0].code()
    agents[0] = job.start(*options, endpoint=where)
    again = job.meets(3, agents)
    assert all(report["from"] > 0 for report in again)
    agents.append(job.start(*options, endpoint=where))
    more = job.meets(4, agents)
    assert min(report["from"] for report in more) > min(report["from"] for report in again)
    job.stop()
    assert [agent.code() for agent in agents] == [0, 0, 0, 0]
    assert all("StoreRestartedError" not in agent.all_output() for agent in agents)


def test_an_agent_that_is_told_to_end_is_missed_at_once(job: Job) -> None:
    """SIGTERM: the others are told, and meet again without it."""
    options = ("--nnodes=1:2", "--max-restarts=5", QUICK)
    with Server() as server:
        where = f"127.0.0.1:{server.port}"
        agents = [job.start(*options, endpoint=where) for _ in range(2)]
        job.meets(2, agents)
        told = agents.pop()
        told.signal(signal.SIGTERM)
        assert told.code() != 0
        job.meets(1, agents)
        job.stop()
        assert agents[0].code() == 0


def test_below_the_least_number_of_nodes_the_job_waits(job: Job) -> None:
    """2 nodes are needed: one alone waits, and goes on with the one that comes."""
    options = ("--nnodes=2", "--max-restarts=5", QUICK)
    with Server() as server:
        where = f"127.0.0.1:{server.port}"
        agents = [job.start(*options, endpoint=where) for _ in range(2)]
        job.meets(2, agents)
        killed = agents.pop()
        killed.signal(signal.SIGKILL)
        killed.code()
        agents[0].wait_for_text("1 of at least 2")
        agents.append(job.start(*options, endpoint=where))
        job.meets(2, agents)
        job.stop()
        assert [agent.code() for agent in agents] == [0, 0]


def test_a_spare_ends_with_the_job(job: Job) -> None:
    """Three agents for two places: who got none ends with exit code 0, in words."""
    with Server() as server:
        where = f"127.0.0.1:{server.port}"
        agents = [job.start("--nnodes=2", QUICK, endpoint=where) for _ in range(3)]

        def placed() -> set[int]:
            return {report["agent"] for report in job.reports() if report["world"] == 2}

        while len(placed()) < 2:
            time.sleep(0.05)
        (spare,) = [agent for agent in agents if agent.pid not in placed()]
        spare.wait_for_text("spare")
        job.stop()
        assert endings(job) == [0, 0, 0]
        assert "Traceback" not in spare.all_output()


def test_workers_that_fail_end_the_job_on_every_node(job: Job, free_port: int) -> None:
    """torch's own words say which worker failed and how."""
    where = f"127.0.0.1:{free_port}"
    agents = [job.start("--nnodes=2", QUICK, endpoint=where) for _ in range(2)]
    job.meets(2, agents)
    job.stop(3)
    # Who learns that a node gave up before its own worker has ended is told not to start again.
    assert sorted(endings(job)) in ([1, 1], [1, DO_NOT_RESTART])
    assert any("exitcode  : 3" in agent.all_output() for agent in agents)


def test_a_store_that_nobody_serves_is_an_error_in_words(job: Job, free_port: int) -> None:
    """torchrun ends with one line that names the endpoint, and no traceback."""
    agent = job.start(
        "--nnodes=2",
        "--rdzv-conf=join_timeout=1,is_host=0",
        endpoint=f"127.0.0.1:{free_port}",
    )
    assert agent.code() == 1
    assert f"ERROR: cannot connect to the rendezvous store at 127.0.0.1:{free_port}" in (
        agent.all_output()
    )
    assert "Traceback" not in agent.output


def test_two_jobs_on_one_server_do_not_meet(
    job: Job, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """--rdzv-id keeps them apart."""
    other = Job(tmp_path_factory.mktemp("other"))
    try:
        with Server() as server:
            where = f"127.0.0.1:{server.port}"
            for each, name in ((job, "one"), (other, "two")):
                agents = [
                    each.start("--nnodes=2", f"--rdzv-id={name}", endpoint=where) for _ in range(2)
                ]
                assert len(each.meets(2, agents)) == 2
            for each in (job, other):
                each.stop()
                assert endings(each) == [0, 0]
    finally:
        other.close()


@pytest.mark.parametrize("kind", ["etcd", "server", "file"])
def test_a_job_needs_a_name_where_others_may_come(
    job: Job, kind: str, server: Server, tmp_path: Path
) -> None:
    """All jobs without one would meet there."""
    places = {
        "etcd": "etcd://127.0.0.1:1",  # nothing is asked of it
        "server": f"127.0.0.1:{server.port}",
        "file": f"file://{tmp_path / 'store'}",
    }
    nameless = job.start("--nnodes=2", endpoint=places[kind], run_id="")
    assert nameless.code() != 0
    assert "--rdzv-id" in nameless.all_output()
