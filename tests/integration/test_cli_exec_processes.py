"""`rendezvous exec --procs-per-node`: several processes a node, as one command."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from support.cli import Cli, free_port, report_command, reports, reports_of_round, stop, wait_for
from support.proc import alive

CONF = "keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=1"
QUICK = ("--rdzv-conf", CONF)


def numbers(report: dict[str, dict[str, str]], *names: str) -> tuple[int, ...]:
    return tuple(int(report["env"][name]) for name in names)


def test_nodes_of_different_sizes(cli: Cli, tmp_path: Path) -> None:
    """Two, one and three processes: six ranks, side by side on each node."""
    endpoint = f"127.0.0.1:{free_port()}"
    sizes = (2, 1, 3)
    nodes = [
        cli.start_exec(endpoint, "3", *QUICK, "--procs-per-node", str(n), *report_command(tmp_path))
        for n in sizes
    ]
    found = reports_of_round(tmp_path, 6)
    by_node = {
        node.process.pid: [each for each in found if each["parent"] == node.process.pid]
        for node in nodes
    }
    assert [len(by_node[node.process.pid]) for node in nodes] == list(sizes)
    for group in by_node.values():
        group.sort(key=lambda each: int(each["env"]["RANK"]))
        ranks = [int(each["env"]["RANK"]) for each in group]
        assert ranks == list(range(ranks[0], ranks[0] + len(group)))
        for local, each in enumerate(group):
            assert numbers(each, "LOCAL_RANK", "LOCAL_WORLD_SIZE") == (local, len(group))
            assert numbers(each, "WORLD_SIZE", "GROUP_WORLD_SIZE", "NNODES") == (6, 3, 3)
    firsts = sorted(
        numbers(group[0], "RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE") for group in by_node.values()
    )
    # The ranks of a node begin where those of the node before it end.
    assert [group for _, group, _ in firsts] == [0, 1, 2]
    assert [first for first, _, _ in firsts] == [0, firsts[0][2], firsts[0][2] + firsts[1][2]]
    assert len({each["env"]["JAX_COORDINATOR_ADDRESS"] for each in found}) == 1
    stop(tmp_path)
    assert [node.end() for node in nodes] == [0, 0, 0]


FAILING = """\
import os, sys, time
open("pid-" + os.environ["RANK"], "w").write(str(os.getpid()))
if os.environ["RANK"] != "2":
    while True: time.sleep(1)
while not all(os.path.exists("pid-%d" % n) for n in range(4)): time.sleep(0.02)
print("loading", file=sys.stderr)
print("out of memory", file=sys.stderr, flush=True)
sys.exit(9)
"""


def test_one_process_that_fails_ends_all(cli: Cli, tmp_path: Path) -> None:
    """Its siblings at once, the other nodes' within seconds; all say which rank it was, and
    its last line; the node's exit code is the process's, the others' says not to start again."""
    endpoint = f"127.0.0.1:{free_port()}"
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    nodes = [
        cli.start_exec(
            endpoint, "2", *QUICK, "--procs-per-node=2", "--", "python3", "-I", "-S", str(script)
        )
        for _ in range(2)
    ]
    codes = [node.end() for node in nodes]
    assert sorted(codes) == [9, 93]
    pids = [int((tmp_path / f"pid-{rank}").read_text()) for rank in range(4)]
    assert not any(map(alive, pids))
    failed = nodes[codes.index(9)]
    last = r"rank 2 failed \(exit code 9\); its last lines:\n +loading\n +out of memory\n"
    assert re.search(last, failed.stderr)
    for node in nodes:
        assert "exit code 9, its last line: 'rank 2: out of memory'" in node.stderr.splitlines()[-1]


def test_a_process_that_is_done_waits_for_its_siblings(cli: Cli, tmp_path: Path) -> None:
    """The node is done when all of them are."""
    script = "test $LOCAL_RANK = 0 && exit 0; while ! test -e go; do sleep 0.05; done; touch done"
    node = cli.start("exec", "--standalone", "--procs-per-node", "2", "--", "sh", "-c", script)
    node.line("round 1")
    (tmp_path / "go").touch()
    assert node.end() == 0
    assert (tmp_path / "done").exists()


def test_killing_exec_kills_all_processes(cli: Cli, tmp_path: Path) -> None:
    """And their children, at any depth."""
    script = "sleep 1000 & echo $$ $! > pids.part; mv pids.part pids-$LOCAL_RANK; wait"
    node = cli.start("exec", "--standalone", "--procs-per-node", "3", "--", "sh", "-c",
                     script.replace("pids.part", "part-$LOCAL_RANK"))  # fmt: skip
    paths = [tmp_path / f"pids-{rank}" for rank in range(3)]
    wait_for("the processes", lambda: all(path.exists() for path in paths))
    pids = [int(word) for path in paths for word in path.read_text().split()]
    assert len(pids) == 6
    node.send(signal.SIGKILL)
    wait_for("their end", lambda: not any(map(alive, pids)))


def test_signals_reach_all_processes(cli: Cli, tmp_path: Path) -> None:
    """Each decides for itself."""
    script = "trap 'echo got; exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    node = cli.start("exec", "--standalone", "--procs-per-node", "2", "--", "sh", "-c", script)
    wait_for("both", lambda: node.stdout.count("ready") == 2)
    node.send(signal.SIGUSR1)
    assert node.end() == 0
    assert node.stdout.count("got") == 2


def test_a_lost_node_and_a_new_one_change_the_ranks(cli: Cli, tmp_path: Path) -> None:
    """Ranks and sizes are those of the nodes that are there, each time."""
    _, endpoint = cli.serve()
    words = ("--run-id", "job", *QUICK, "--procs-per-node")
    command = report_command(tmp_path)
    first = cli.start_exec(endpoint, "2:3", *words, "1", *command)
    second = cli.start_exec(endpoint, "2:3", *words, "2", *command)
    third = cli.start_exec(endpoint, "2:3", *words, "3", *command)
    six = reports_of_round(tmp_path, 6)
    third.send(signal.SIGKILL)
    three = reports_of_round(tmp_path, 3, after=int(six[0]["env"]["RENDEZVOUS_ROUND"]))
    assert {numbers(each, "WORLD_SIZE", "NNODES") for each in three} == {(3, 2)}
    back = cli.start_exec(endpoint, "2:3", *words, "4", *command)
    seven = reports_of_round(tmp_path, 7, after=int(three[0]["env"]["RENDEZVOUS_ROUND"]))
    assert {numbers(each, "WORLD_SIZE", "NNODES") for each in seven} == {(7, 3)}
    stop(tmp_path)
    assert [node.end() for node in (first, second, back)] == [0, 0, 0]


SAYING = "echo out $RANK; echo err $RANK >&2; exit $1"


def saying(code: int = 0) -> list[str]:
    return ["--", "sh", "-c", SAYING, "sh", str(code)]


def test_a_file_for_each_rank(cli: Cli, tmp_path: Path) -> None:
    """Both streams, and nothing on exec's own."""
    words = ("--standalone", "--procs-per-node", "2", "--log-dir", "logs", "--run-id", "a/b")
    node = cli.start("exec", *words, *saying())
    assert node.end() == 0
    folder = tmp_path / "logs" / "a%2Fb" / "round-1"
    assert sorted(path.name for path in folder.iterdir()) == ["rank-0.log", "rank-1.log"]
    for rank in range(2):
        assert (folder / f"rank-{rank}.log").read_text() == f"out {rank}\nerr {rank}\n"
    assert node.stdout == ""
    assert "err 0" not in node.stderr


def test_files_and_our_streams(cli: Cli, tmp_path: Path) -> None:
    """--tee says who says what; the files have the bytes as they came."""
    words = ("--standalone", "--nproc_per_node", "2", "--log_dir", "logs", "--tee")
    node = cli.start("exec", *words, "3", *saying())
    assert node.end() == 0
    assert sorted(node.stdout.splitlines()) == ["[rank 0] out 0", "[rank 1] out 1"]
    assert {"[rank 0] err 0", "[rank 1] err 1"} <= set(node.stderr.splitlines())
    text = (tmp_path / "logs" / "default" / "round-1" / "rank-1.log").read_text()
    assert sorted(text.splitlines()) == ["err 1", "out 1"]


def test_prefixes_without_files(cli: Cli, tmp_path: Path) -> None:
    """Of one stream; a last line without a newline gets one."""
    words = ("--standalone", "--procs-per-node", "2", "-t", "1")
    node = cli.start("exec", *words, "--", "sh", "-c", "printf 'half '; printf line; echo err >&2")
    assert node.end() == 0
    assert sorted(node.stdout.splitlines()) == ["[rank 0] half line", "[rank 1] half line"]
    assert node.stderr.splitlines().count("err") == 2


def test_only_one_stream_goes_to_the_files(cli: Cli, tmp_path: Path) -> None:
    """--redirects, as torchrun has it."""
    node = cli.start("exec", "--standalone", "--log-dir", "logs", "-r", "2", *saying())
    assert node.end() == 0
    assert node.stdout == "out 0\n"
    assert (tmp_path / "logs/default/round-1/rank-0.log").read_text() == "err 0\n"


def test_the_error_shows_the_end_of_the_file(cli: Cli, tmp_path: Path) -> None:
    """And says where all of it is; each round has files of its own."""
    words = ("--standalone", "--log-dir", "logs", "--max-restarts", "1")
    node = cli.start("exec", *words, *saying(3))
    assert node.end() == 3
    files = sorted((tmp_path / "logs" / "default").glob("round-*/rank-0.log"))
    assert len(files) == 2
    assert f"its last lines in {files[1]}:\n    out 0\n    err 0\n" in node.stderr
    assert "its last line: 'rank 0: err 0'" in node.stderr.splitlines()[-1]


def test_the_command_says_that_nobody_shall_start_it_again(cli: Cli, tmp_path: Path) -> None:
    """Exit code 93: no restart, although there are some left, and although enough nodes are."""
    endpoint = f"127.0.0.1:{free_port()}"
    words = (*QUICK, "--max-restarts", "5")
    others = [cli.start_exec(endpoint, "1:3", *words, *report_command(tmp_path)) for _ in range(2)]
    script = "test $WORLD_SIZE = 3 || sleep 1000; echo bad data >&2; exit 93"
    node = cli.start_exec(endpoint, "1:3", *words, "--", "sh", "-c", script)
    assert node.end() == 93
    assert [other.end() for other in others] == [93, 93]
    assert ": restart " not in node.stderr


def test_standalone_is_a_job_of_its_own(cli: Cli, tmp_path: Path) -> None:
    """Two at once on one machine do not meet."""
    nodes = [cli.start("exec", "--standalone", *report_command(tmp_path)) for _ in range(2)]
    found = wait_for("both", lambda: ((r := reports(tmp_path)) and len(r) == 2 and r) or None)
    assert {each["env"]["WORLD_SIZE"] for each in found} == {"1"}
    url = found[0]["env"]["RENDEZVOUS_ENDPOINT"]
    assert cli.run("add", "n", "--endpoint", url).stdout == b"1\n"
    stop(tmp_path)
    assert [node.end() for node in nodes] == [0, 0]


@pytest.mark.parametrize("env", [{}, {"SLURM_STEP_TASKS_PER_NODE": "2"}])
def test_srun_alone_is_enough(cli: Cli, tmp_path: Path, env: dict[str, str]) -> None:
    """The variables of a step, as SLURM sets them: endpoint, nodes and places are found there."""
    step = {
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_STEP_NUM_TASKS": "2",
    } | env
    nodes = [
        cli.start("exec", "--rdzv-conf", CONF, *report_command(tmp_path),
                  SLURM_PROCID=str(rank), SLURM_NODEID="0", SLURM_LOCALID=str(rank), **step)
        # By address alone, the first one to start would have rank 0.
        for rank in (1, 0)
    ]  # fmt: skip
    found = reports_of_round(tmp_path, 2)
    assert all(each["env"]["RANK"] == each["env"]["SLURM_PROCID"] for each in found)
    locals_ = sorted(numbers(each, "LOCAL_RANK", "LOCAL_WORLD_SIZE") for each in found)
    assert locals_ == ([(0, 2), (1, 2)] if env else [(0, 1), (0, 1)])
    assert "SLURM: 2 nodes, this is node 1, the store is at 127.0.0.1:2" in nodes[0].stderr
    assert "serving the rendezvous store" in nodes[1].stderr
    stop(tmp_path)
    assert [node.end() for node in nodes] == [0, 0]


def test_events_of_a_node(cli: Cli, tmp_path: Path) -> None:
    """A line of JSON for each thing that happens to it."""
    node = cli.start(
        "exec", "--standalone", "--event-log", "events", "--max-restarts", "1", "--",
        "sh", "-c", "test -e again || { touch again; echo oh no >&2; exit 4; }",
    )  # fmt: skip
    assert node.end() == 0
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    whats = [event["what"] for event in events]
    assert whats == [
        "joining", "joined", "started", "failed", "joining", "joined", "started", "ended", "left",
    ]  # fmt: skip
    failed = events[3]
    assert (failed["round"], failed["rank"], failed["world_size"]) == (1, 0, 1)
    assert failed["why"] == "exit code 4, rank 0: oh no"
    assert failed["duration_s"] > 0
    assert failed["details"] == {"exit_code": 4, "process_rank": 0}
    assert {event["run_id"] for event in events} == {"default"}
