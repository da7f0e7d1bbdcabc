"""The programs in examples/, as a reader runs them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from rendezvous import Server
from rendezvous.aio import join

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


def test_the_controller_tells_of_two_hundred_runs(server: Server) -> None:
    """400 nodes come, those of one run one by one; one fails; all go."""
    runs = [f"job-{i}" for i in range(200)]
    program = subprocess.Popen(
        [
            sys.executable,
            str(EXAMPLES / "controller.py"),
            f"127.0.0.1:{server.port}",
            *runs,
            "--until-done",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    )
    assert program.stdout is not None
    lines: list[str] = []

    def said(wanted: set[str]) -> None:
        """Waits until it has printed all of these."""
        assert program.stdout is not None
        wanted = wanted - set(lines)
        while wanted:
            line = program.stdout.readline()
            assert line, lines
            lines.append(line.rstrip())
            wanted.discard(lines[-1])

    async def node(run_id: str, end: asyncio.Event, fails: bool = False) -> None:
        with suppress(ZeroDivisionError):
            async with join(f"127.0.0.1:{server.port}", (2, 2), run_id, timeout=60) as world:
                await end.wait()
                if run_id == runs[-1]:
                    await world.close_run()
                if fails:
                    raise ZeroDivisionError

    async def main() -> None:
        end = asyncio.Event()
        nodes = [asyncio.create_task(node(runs[-1], end))]
        await asyncio.to_thread(said, {"job-199: 1 of 2 nodes missing in round 1"})
        nodes.append(asyncio.create_task(node(runs[-1], end, fails=True)))
        nodes += [asyncio.create_task(node(run_id, end)) for run_id in runs[:-1] for _ in range(2)]
        complete = {f"{run_id}: round 1 is complete with 2 nodes" for run_id in runs}
        await asyncio.to_thread(said, complete)
        end.set()
        await asyncio.gather(*nodes)

    with program:
        said({f"following 200 runs at 127.0.0.1:{server.port}"})
        asyncio.run(main())
        lines += program.stdout.read().splitlines()
        assert program.wait() == 0, lines
    assert lines[-1] == "200 runs are done"
    came = Counter(line.partition(":")[0] for line in lines if " came as participant" in line)
    assert came == dict.fromkeys(runs, 2)
    gone = Counter(line.rpartition(" ")[2] for line in lines)
    assert gone["failed"] == 1
    assert gone["left"] == 399


def test_the_controller_is_short() -> None:
    """As its page says; and the page shows it."""
    text = (EXAMPLES / "controller.py").read_text()
    assert len(text.splitlines()) < 80
    page = (EXAMPLES.parent / "docs" / "asyncio.md").read_text()
    assert text.partition("async def control")[2].partition("def main")[0].strip() in page
