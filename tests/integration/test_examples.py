"""The programs in examples/, as a reader runs them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from rendezvous import Server
from rendezvous.aio import World, join

EXAMPLES = Path(__file__).parents[2] / "examples"


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

    def line(end: str) -> None:
        """Waits for it."""
        assert program.stdout is not None
        for each in program.stdout:
            lines.append(each.rstrip())
            if lines[-1].endswith(end):
                return
        raise AssertionError(lines)

    async def node(run_id: str, fails: bool = False) -> None:
        with suppress(ZeroDivisionError):
            async with join(f"127.0.0.1:{server.port}", (2, 2), run_id, timeout=60) as world:
                await together(world)
                if fails:
                    raise ZeroDivisionError
                if run_id == runs[-1]:
                    await world.close_run()

    async def together(world: World) -> None:
        await world.store.barrier("end", world.world_size)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(node(runs[-1]))
        await loop.run_in_executor(None, line, "job-199: 1 of 2 nodes missing in round 1")
        rest = [node(run_id) for run_id in runs[:-1] for _ in range(2)]
        await asyncio.gather(first, node(runs[-1], fails=True), *rest)

    with program:
        line(f"following 200 runs at 127.0.0.1:{server.port}")
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
