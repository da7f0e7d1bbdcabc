"""`rendezvous.join`: a launcher's rendezvous in one call, and what a node tells of itself."""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from support.background import BACKSTOP_S
from support.etcd import NO_ETCD, Cluster, binaries

import rendezvous
from rendezvous import Event, Server, World
from rendezvous.errors import (
    RendezvousFailedError,
    RendezvousTimeoutError,
    RendezvousUnhealthyError,
)

QUICK = {"last_call_timeout": 0.5, "keep_alive_interval": 1, "keep_alive_max_attempt": 3}


@pytest.fixture(params=["server", "file", "etcd"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a run may be kept."""
    if request.param == "server":
        yield f"127.0.0.1:{request.getfixturevalue('server').port}"
    elif request.param == "file":
        yield (tmp_path / "store").as_uri()
    elif not binaries():
        pytest.skip(NO_ETCD)
    else:
        with Cluster(binaries()[-1], 1) as cluster:
            yield f"etcd://{cluster.endpoints}"


def join(endpoint: str, nodes: int | tuple[int, int], run_id: str = "job", **more: object) -> World:
    settings: dict[str, object] = {**QUICK, "local_addr": "127.0.0.1", "join_timeout": BACKSTOP_S}
    return rendezvous.join(endpoint, nodes, run_id, **(settings | more))  # type: ignore[arg-type]


def all_join(endpoint: str, count: int, nodes: int | tuple[int, int]) -> list[World]:
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(join, endpoint, nodes) for _ in range(count)]
        return sorted((each.result() for each in futures), key=lambda world: world.rank)


def test_a_world_says_who_is_there(endpoint: str) -> None:
    """Rank, size, a store of the round, and where rank 0 is; when a node goes, the others know."""
    worlds = all_join(endpoint, 3, (2, 3))
    assert [world.rank for world in worlds] == [0, 1, 2]
    assert {(world.size, world.round, world.run_id) for world in worlds} == {(3, 1, "job")}
    assert len({(world.master_addr, world.master_port) for world in worlds}) == 1
    worlds[0].store.set("greeting", "hello")
    assert worlds[2].store.get("greeting") == b"hello"
    assert not worlds[0].changed.is_set()
    assert not worlds[0].changed.wait(0.01)

    worlds.pop().close(failed=True)
    assert all(world.changed.wait(BACKSTOP_S) for world in worlds)
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda world: world.next_round(), worlds))
    assert again == worlds
    assert sorted(world.rank for world in worlds) == [0, 1]
    assert {(world.size, world.round) for world in worlds} == {(2, 2)}
    assert worlds[0].store.try_get("greeting") is None
    assert not worlds[0].changed.is_set()
    for world in worlds:
        world.close()
        world.close()


PROGRAM = """\
import rendezvous, sys
with rendezvous.join(sys.argv[1], nodes=2, join_timeout=120) as world:
    world.store.set(f"from {world.rank}", "x")
    world.store.wait(["from 0", "from 1"])
    print(world.rank, world.size)
"""


def test_five_lines_are_a_program(free_port: int) -> None:
    """No server, no name of the job: the first one hosts the store until both are done."""
    endpoint = f"127.0.0.1:{free_port}"
    assert len(PROGRAM.splitlines()) == 5
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, endpoint],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        for _ in range(2)
    ]
    answers = [program.communicate(timeout=BACKSTOP_S) for program in running]
    assert sorted(out for out, _ in answers) == [b"0 2\n", b"1 2\n"], answers
    assert [program.returncode for program in running] == [0, 0]


def test_a_run_without_a_name_needs_one_where_others_meet(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a server that nobody of the job hosts: as for exec."""
    for name in ("SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "FLUX_JOB_ID", "AWS_BATCH_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    with pytest.raises(ValueError, match="give every node of this job the same run id"):
        rendezvous.join(f"127.0.0.1:{server.port}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with rendezvous.join(f"127.0.0.1:{server.port}") as world:
        assert world.run_id == "slurm-77"


def test_bad_arguments() -> None:
    """Say what is wrong."""
    with pytest.raises(ValueError, match="unknown scheme 'http'"):
        rendezvous.join("http://node0")
    with pytest.raises(ValueError, match="is less than min_nodes"):
        rendezvous.join("node0", (3, 2), "job")
    with pytest.raises(ValueError, match="'joint_timeout' has no effect"):
        rendezvous.join("node0", 1, "job", joint_timeout=3)
    with pytest.raises(ValueError, match="on_event is 3, not a callable"):
        rendezvous.join("127.0.0.1:0", 1, "job", on_event=3)  # type: ignore[arg-type]
    for nodes in ("2:4", "24", 2.0, (1, 2, 3), None, (1, "2")):
        with pytest.raises(ValueError, match="give a number, such as 4, or the least and the most"):
            rendezvous.join("127.0.0.1:0", nodes, "job")  # type: ignore[arg-type]
    for endpoint in (None, 29400):
        with pytest.raises(ValueError, match=f"the endpoint is {endpoint}, not a string"):
            rendezvous.join(endpoint, 1, "job")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="run_id is 3, not a string"):
        rendezvous.join("127.0.0.1:0", 1, 3)  # type: ignore[arg-type]
    for linger in ("soon", None, float("nan")):
        with pytest.raises(ValueError, match=r"linger_timeout is .*, not a number of seconds"):
            rendezvous.join("127.0.0.1:0", 1, "job", linger_timeout=linger)
    with pytest.raises(ValueError, match="linger_timeout is -1 s; it must not be negative"):
        rendezvous.join("127.0.0.1:0", 1, "job", linger_timeout=-1)


def test_endpoints_may_be_written_in_any_way_that_urls_are(tmp_path: Path, server: Server) -> None:
    """Schemes in capitals, and a slash at the end."""
    path = tmp_path / "store"
    with rendezvous.join(f"FILE://{path}", 1, "job"):
        assert path.exists()
    with rendezvous.join(f"tcp://127.0.0.1:{server.port}/", 1, "job") as world:
        assert world.size == 1


def test_an_exception_in_the_block_is_a_loss_for_the_others(server: Server) -> None:
    """Success is not."""
    where = f"127.0.0.1:{server.port}"
    worlds = all_join(where, 3, 3)
    with worlds[0]:
        pass
    with suppress(SystemExit), worlds[1]:
        raise SystemExit(0)
    assert not worlds[2].changed.wait(0.3)
    worlds[2].close()

    worlds = all_join(where, 2, 2)
    with suppress(ZeroDivisionError), worlds[0]:
        raise ZeroDivisionError
    assert worlds[1].changed.wait(BACKSTOP_S)
    worlds[1].close()


def test_who_gives_up_ends_the_others(server: Server) -> None:
    """They are told why."""
    worlds = all_join(f"127.0.0.1:{server.port}", 2, 2)
    assert "exit code 5, its last line: 'disk full'" in worlds[0].give_up(5, "disk full")
    assert worlds[1].changed.wait(BACKSTOP_S)
    with pytest.raises(RendezvousFailedError, match="disk full"):
        worlds[1].next_round()
    for world in worlds:
        world.close()


def test_who_takes_no_part_gives_nothing_up(server: Server) -> None:
    """Of what has ended, no second end is told."""
    told: list[str] = []
    world = join(f"127.0.0.1:{server.port}", 1, on_event=lambda event: told.append(event.what))
    assert world.give_up(5, "disk full")
    assert not world.give_up(6, "again")
    world.close()
    assert told == ["joining", "joined", "gave_up"]


def test_a_node_that_is_not_fit_does_not_join(endpoint: str) -> None:
    """Who waits for it in vain learns why, whoever keeps the run."""
    refused = "GPU 3 has ECC errors"
    with pytest.raises(RendezvousUnhealthyError, match=refused) as raised:
        join(endpoint, 2, health_check=lambda: refused)
    assert raised.value.reason == f"its health check says: {refused}"
    with pytest.raises(RendezvousTimeoutError, match=f"do not take part: .*{refused}") as late:
        join(endpoint, 2, join_timeout=1)
    assert len(late.value.excluded) == 1


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("echo checking; echo no InfiniBand >&2; exit 3",
         "its health check ended with exit code 3, its last line: 'no InfiniBand'"),
        ("kill -9 $$", "its health check was ended by signal 9"),
        (lambda: False, "its health check returned False"),
        (lambda: 1 / 0, "its health check raised ZeroDivisionError: division by zero"),
        (lambda: 1, "its health check returned 1, and not True, False, None or a reason"),
        (lambda: [], "its health check returned [], and not True, False, None or a reason"),
        ("a\0b", "its health check cannot be run: embedded null byte"),
        ("seq 300000; echo end; sleep 20 & exit 3",
         "its health check ended with exit code 3, its last line: 'end'"),
        ("exec >&- 2>&-; exit 4", "its health check ended with exit code 4"),
    ],
)  # fmt: skip
def test_reasons(server: Server, check: object, reason: str) -> None:
    """In words."""
    with pytest.raises(RendezvousUnhealthyError) as raised:
        join(f"127.0.0.1:{server.port}", 1, health_check=check)
    assert raised.value.reason == reason


def test_a_check_that_does_not_end_is_ended(server: Server) -> None:
    """At the join timeout, with all that it started."""
    with pytest.raises(RendezvousUnhealthyError, match="did not end in time"):
        join(f"127.0.0.1:{server.port}", 1, health_check="sleep 1000 & wait", join_timeout=0.2)


def test_a_check_that_says_much_fills_no_disk(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it need one."""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(
        RendezvousUnhealthyError, match=r"did not end in time .*, its last line: 'y'"
    ):
        join(f"127.0.0.1:{server.port}", 1, health_check="yes", join_timeout=0.5)


def test_a_check_that_is_content_lets_the_node_join(server: Server) -> None:
    """None, True, no reason, and exit code 0 are good answers."""
    for check in ("true", "true & exec true", lambda: None, lambda: True, lambda: ""):
        join(f"127.0.0.1:{server.port}", 1, health_check=check).close()


def test_a_member_that_became_unfit_gives_up(server: Server) -> None:
    """Before the next round: the others learn the reason at once, and do not wait."""
    fit = [True]
    where = f"127.0.0.1:{server.port}"
    with ThreadPoolExecutor(3) as pool:
        calls: list[Future[World]] = [
            pool.submit(join, where, 3, health_check=lambda: fit[0] or "too hot"),
            *(pool.submit(join, where, 3) for _ in range(2)),
        ]
        weak, other, third = (call.result() for call in calls)
    fit[0] = False
    third.close(failed=True)
    assert weak.changed.wait(BACKSTOP_S)
    with pytest.raises(RendezvousUnhealthyError, match="too hot"):
        weak.next_round()
    assert other.changed.wait(BACKSTOP_S)
    with pytest.raises(RendezvousFailedError, match="too hot"):
        other.next_round()
    for world in (weak, other):
        world.close()


def test_events(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """To a callback and to the log, in order, each with what is known of the node; a callback that
    raises disturbs nobody."""
    told: list[Event] = []

    def note(event: Event) -> None:
        told.append(event)
        raise RuntimeError("not my day")

    where = f"127.0.0.1:{server.port}"
    with caplog.at_level(logging.INFO, "rendezvous.events"):
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(join, where, 2, on_event=note), pool.submit(join, where, 2)]
            world, other = (call.result() for call in calls)
        other.close(failed=True)
        assert world.changed.wait(BACKSTOP_S)
        assert world.changed.is_set()
        world.close()
    assert [event.what for event in told] == ["joining", "joined", "changed", "left"]
    joined, changed, left = told[1:]
    assert (joined.rank, joined.world_size, joined.round) == (world.rank, 2, 1)
    assert joined.duration_s is not None
    assert joined.duration_s >= 0
    assert joined.details["master_port"] == world.master_port
    assert changed.why.startswith("lost: 127.0.0.1 (pid ")
    assert left.why == "done"
    logged = [record for record in caplog.records if record.name == "rendezvous.events"]
    mine = [record for record in logged if getattr(record, "event", None) in told]
    assert [json.loads(record.getMessage())["what"] for record in mine] == [
        event.what for event in told
    ]
    assert any("not my day" in str(record.exc_text or record.exc_info) for record in caplog.records)


def test_events_of_a_join_that_fails(server: Server) -> None:
    """With the error in words."""
    told: list[Event] = []
    with pytest.raises(RendezvousTimeoutError):
        join(f"127.0.0.1:{server.port}", 2, join_timeout=0.2, on_event=told.append)
    assert [event.what for event in told] == ["joining", "join_failed"]
    assert told[1].details == {"error": "RendezvousTimeoutError"}
    assert told[1].why


def test_plugins_hear_events(tmp_path: Path, server: Server) -> None:
    """Entry points of the group rendezvous.events, of any package that is installed."""
    (tmp_path / "listener.py").write_text(
        "import os\ndef hear(event):\n    print('heard', event.what, event.run_id, flush=True)\n"
    )
    info = tmp_path / "listener-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: listener\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[rendezvous.events]\nmine = listener:hear\nbroken = listener:nothing\n"
        "odd = listener:__name__\n"
    )
    program = "import rendezvous, sys\nrendezvous.join(sys.argv[1], 1, 'job').close()\n"
    done = subprocess.run(
        [sys.executable, "-c", program, f"127.0.0.1:{server.port}"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=BACKSTOP_S,
        check=True,
        cwd="/",
    )
    assert done.stdout.decode().split("\n")[:3] == [
        "heard joining job", "heard joined job", "heard left job",
    ]  # fmt: skip
    assert b"the plug-in listener:nothing for events cannot be loaded" in done.stderr
    assert done.stderr.count(b"'listener' cannot be called") == 1


def test_who_waits_for_a_change_of_a_closed_world_waits_no_longer(server: Server) -> None:
    """None will come."""
    world = join(f"127.0.0.1:{server.port}", 1)
    answers: queue.Queue[bool] = queue.Queue()
    threading.Thread(target=lambda: answers.put(world.changed.wait()), daemon=True).start()
    world.close()
    assert answers.get(timeout=BACKSTOP_S) is False
    for odd in ("soon", float("nan")):
        with pytest.raises(ValueError, match=r"timeout is .*, not a number of seconds"):
            world.changed.wait(odd)  # type: ignore[arg-type]


def test_any_thread_may_wait_for_a_change(server: Server) -> None:
    """As for a threading.Event."""
    worlds = all_join(f"127.0.0.1:{server.port}", 2, 2)
    seen = threading.Event()

    def watch() -> None:
        if worlds[0].changed.wait(BACKSTOP_S):
            seen.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    worlds[1].close(failed=True)
    assert seen.wait(BACKSTOP_S)
    watcher.join()
    worlds[0].close()
