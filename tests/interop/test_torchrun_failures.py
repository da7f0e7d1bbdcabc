"""`torchrun --rdzv-backend=rendezvous`: workers that fail, nodes that die too early, crowds."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from support.background import Background
from support.torchrun import Agent, Job

from rendezvous import (
    DynamicRendezvousHandler,
    RendezvousParameters,
    Server,
    get_rendezvous_handler,
)
from rendezvous._base.exit_codes import DO_NOT_RESTART

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

QUICK = "--rdzv-conf=last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=2"

# Fails in as many rounds as `FAIL` says; writes a line for each start.
FAILING = """\
import json, os, sys
folder = sys.argv[1]
import torch.distributed as dist
dist.init_process_group("gloo")
path = os.path.join(folder, "starts")
with open(path, "a") as out:
    out.write(json.dumps({
        "count": int(os.environ["TORCHELASTIC_RESTART_COUNT"]), "agent": os.getppid(),
        "round": os.environ["MASTER_PORT"], "world": dist.get_world_size()}) + "\\n")
dist.barrier()
rounds = {json.loads(line)["round"] for line in open(path)}
dist.barrier()
if len(rounds) <= int(os.environ["FAIL"]):
    print("out of luck", file=sys.stderr, flush=True)
    sys.exit(7)
if dist.get_world_size() > 1 and os.environ.get("WAIT"):
    dist.barrier()  # for one that has failed
dist.destroy_process_group()
"""


def starts(job: Job) -> list[dict[str, Any]]:
    path = job.folder / "starts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_workers_that_fail_are_restarted_as_often_as_torchrun_allows(
    job: Job, free_port: int
) -> None:
    """--max-restarts=2: two failures, on both nodes, and a third start that is well."""
    agents = [
        job.start(
            *("--nnodes=2", "--max-restarts=2", QUICK),
            endpoint=f"127.0.0.1:{free_port}",
            script=FAILING,
            FAIL="2",
        )
        for _ in range(2)
    ]
    assert [agent.code() for agent in agents] == [0, 0], [agent.output for agent in agents]
    found = starts(job)
    assert {each["world"] for each in found} == {2}
    assert len({each["round"] for each in found}) == 3
    # A node whose workers the other one's failure ended has no restart less.
    last = [max(each["count"] for each in found if each["agent"] == agent.pid) for agent in agents]
    assert 2 <= sum(last) <= 4


def test_workers_that_fail_more_often_end_the_job(job: Job, free_port: int) -> None:
    """--max-restarts=1: two starts, and exit code 1 with the worker's own."""
    agent = job.start(
        *("--nnodes=1", "--max-restarts=1", QUICK),
        endpoint=f"127.0.0.1:{free_port}",
        script=FAILING,
        FAIL="9",
    )
    assert agent.code() == 1
    assert [each["count"] for each in starts(job)] == [0, 1]
    assert "exitcode  : 7" in agent.all_output()


def one_that_fails_for_good(job: Job, server: Server, nodes: str) -> tuple[Agent, Agent]:
    """Of two agents, the one whose workers fail and are not started again; and the other one."""
    where = f"127.0.0.1:{server.port}"
    failing = job.start(
        *(f"--nnodes={nodes}", "--max-restarts=0", QUICK), endpoint=where, script=FAILING, FAIL="9"
    )
    other = job.start(
        *(f"--nnodes={nodes}", "--max-restarts=3", QUICK), endpoint=where, FAIL="0", WAIT="1"
    )
    return failing, other


def test_a_node_whose_workers_fail_for_good_leaves_the_others_to_go_on(job: Job) -> None:
    """1:2 nodes: who is left is enough, and trains alone. Its workers' failure was a loss's."""
    with Server() as server:
        failing, other = one_that_fails_for_good(job, server, "1:2")
        assert failing.code() == 1
        assert other.code() == 0, other.output
        found = [each for each in starts(job) if each["agent"] == other.pid]
        assert found[-1]["world"] == 1


def test_a_node_whose_workers_fail_for_good_ends_a_job_that_needs_it(job: Job) -> None:
    """2 nodes: the other does not wait for the join timeout, and names the root cause."""
    with Server() as server:
        failing, other = one_that_fails_for_good(job, server, "2")
        assert failing.code() == 1
        assert other.code() == DO_NOT_RESTART, other.output
        assert "exit code 7" in other.all_output()
        assert "Traceback" not in other.output.rpartition("rendezvous: ERROR")[2]


def test_a_node_that_dies_before_the_roles_are_told_does_not_hold_the_others(job: Job) -> None:
    """It has its rank and dies: the agents' exchange of roles would wait 60 s for it, and fail."""
    options = ("--nnodes=2", "--max-restarts=0", "--rdzv-id=run", QUICK)
    with Server() as server:
        where = f"127.0.0.1:{server.port}"
        doomed = get_rendezvous_handler(
            RendezvousParameters(
                *("c10d", where, "run", 2, 2, "127.0.0.1"),
                last_call_timeout=1,
                keep_alive_interval=1,
                keep_alive_max_attempt=2,
                is_host=False,
            )
        )
        assert isinstance(doomed, DynamicRendezvousHandler)
        joining = Background(doomed.next_rendezvous)
        agents = [job.start(*options, endpoint=where)]
        assert joining.result().world_size == 2
        doomed.leave(failed=True)
        agents.append(job.start(*options, endpoint=where))
        reports = job.meets(2, agents)
        # No failure of theirs: they had no restart to spare.
        assert {report["sum"] for report in reports} == {2}
        job.stop()
        assert [agent.code() for agent in agents] == [0, 0]
        doomed.shutdown()


def test_eight_agents_at_once(job: Job, free_port: int) -> None:
    """Who is first serves the store, and every worker has a rank of its own."""
    agents = [job.start("--nnodes=8", QUICK, endpoint=f"127.0.0.1:{free_port}") for _ in range(8)]
    reports = job.meets(8, agents)
    assert sorted(report["rank"] for report in reports) == list(range(8))
    assert {report["sum"] for report in reports} == {8}
    job.stop()
    assert [agent.code() for agent in agents] == [0] * 8


@pytest.mark.parametrize("kind", ["served by rank 0", "a server of its own"])
def test_ranks_that_are_given(job: Job, free_port: int, kind: str) -> None:
    """rendezvous-static: each node has the rank that it was given, whoever has the port."""
    with Server("127.0.0.1", free_port if kind == "a server of its own" else 0):
        agents = [
            job.start(
                *("--nnodes=2", f"--rdzv-conf=rank={rank}", "--rdzv-id=run"),
                backend="rendezvous-static",
                endpoint=f"127.0.0.1:{free_port}",
            )
            for rank in (1, 0)
        ]
        reports = job.meets(2, agents)
        ranks = {report["agent"]: report["rank"] for report in reports}
        assert [ranks[agent.pid] for agent in agents] == [1, 0]
        (port,) = {report["env"]["MASTER_PORT"] for report in reports}
        assert (port == str(free_port)) == (kind == "served by rank 0")
        job.stop()
        assert [agent.code() for agent in agents] == [0, 0]
        assert all("Traceback" not in agent.all_output() for agent in agents)


def test_a_rank_that_does_not_come_is_named(job: Job, free_port: int) -> None:
    """rendezvous-static: in one line, and no traceback of ours."""
    agent = job.start(
        *("--nnodes=2", "--rdzv-conf=rank=0,join_timeout=1"),
        backend="rendezvous-static",
        endpoint=f"127.0.0.1:{free_port}",
    )
    assert agent.code() == 1
    assert "missing: rank 1." in agent.all_output()
    assert "Traceback" not in agent.output
