"""The code blocks of the pages that say `run`, each as a reader runs it, in a folder of its own.

support/pages.py says what a block may ask for. What stands for another machine on a page is this
one: node0 is a loopback address, and `python train.py` a script that says its rank.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.cli import BACKSTOP_S, environment
from support.etcd import NO_ETCD, binaries
from support.pages import Block, all_blocks

from rendezvous import Server
from rendezvous.backends.etcd import EtcdServer

BLOCKS = [block for block in all_blocks() if block.mode == "run"]
TRAIN = 'import os; print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"])\n'
# Blocks may await, as in the REPL of `python -m asyncio`.
PROGRAM = """\
import ast, asyncio, inspect, sys
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__", "rendezvous": __import__("rendezvous.aio")}
found = eval(code, names)
if inspect.isawaitable(found):
    asyncio.run(found)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the programs that pages start, and nothing of this user's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("python", ""), ("rendezvous", "-m rendezvous")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    here = tmp_path / "here"
    here.mkdir()
    (here / "train.py").write_text(TRAIN)
    (here / "block-of-python").write_text(PROGRAM)
    return here


@pytest.fixture
def places(request: pytest.FixtureRequest, free_port: int) -> Iterator[dict[str, str]]:
    """What a page says, and what stands for it here."""
    block: Block = request.getfixturevalue("block")
    if "torch" in block.options and importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    port = free_port
    with ExitStack() as stack:
        found: dict[str, str] = {}
        if "server" in block.options:
            port = stack.enter_context(Server("127.0.0.1")).port
        if "etcd" in block.options:
            if not binaries():
                pytest.skip(NO_ETCD)
            etcd = stack.enter_context(EtcdServer())
            host = etcd.get_endpoint().removeprefix("http://")
            found |= {
                r"etcd-?0(:2379)?,etcd-?1(:2379)?,etcd-?2(:2379)?": host,
                # This machine's name may lead nowhere.
                r"--backend etcd": "--backend etcd --local-addr 127.0.0.1",
                r'"job-17", 2, 8\)': '"job-17", 2, 2, "127.0.0.1")',
            }
        found |= {
            r"\b(node0|localhost)(:29400)?\b": f"127.0.0.1:{port}",
            r'"127\.0\.0\.1", 29400': f'"127.0.0.1", {port}',
            r"/shared/": "./shared/",
        }
        if "nodes" in block.options:
            nodes = block.options["nodes"]
            found |= {r"--nodes [\d:]+": f"--nodes {nodes}", r"nodes=\(\d, \d\)": f"nodes={nodes}"}
        yield found


def run(block: Block, places: dict[str, str], folder: Path) -> None:
    text = block.text
    for theirs, ours in places.items():
        text = re.sub(theirs, ours, text)
    file = folder / "block"
    file.write_text(text)
    words = (
        ["sh", "-eu", "block"] if block.language == "sh" else ["python", "block-of-python", "block"]
    )
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = environment(
        PATH=f"{folder.parent / 'bin'}:{kept.get('PATH', '')}",
        HOME=str(folder),
        XDG_CONFIG_HOME=str(folder / "config"),
        PYTHONUNBUFFERED="1",
    )
    processes = [
        subprocess.Popen(
            words,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for _ in range(int(block.options.get("nodes", "1")))
    ]
    ends: list[tuple[int, str]] = []
    for process in processes:
        backstop = threading.Timer(BACKSTOP_S, os.killpg, (process.pid, signal.SIGKILL))
        backstop.start()
        try:
            ends.append(_end_of(process, block.options.get("until")))
        finally:
            backstop.cancel()
    said = "\n".join(text for _, text in ends)
    assert [code for code, _ in ends] == [0] * len(ends), said
    assert "has no effect" not in said


def _end_of(process: subprocess.Popen[str], until: str | None) -> tuple[int, str]:
    """Exit code and output. What is ended by Ctrl-C once it has said what it is for, is done."""
    assert process.stdout is not None
    lines = []
    is_done = False
    for line in process.stdout:
        lines.append(line)
        if until and until in line and not is_done:
            is_done = True
            os.killpg(process.pid, signal.SIGINT)
    code = process.wait()
    if until:
        code = 0 if is_done else code or 1
    return code, "".join(lines)


# Nodes that meet are all that a token changes.
CASES = [("open", block) for block in BLOCKS]
CASES += [("token", block) for block in BLOCKS if "nodes" in block.options]


@pytest.mark.parametrize(
    ("open_and_with_token", "block"), CASES, indirect=["open_and_with_token"], ids=str
)
def test_a_block_runs(
    open_and_with_token: None, block: Block, places: dict[str, str], folder: Path
) -> None:
    """To its end, without an error."""
    (folder / "shared" / "job-17").mkdir(parents=True)
    run(block, places, folder)
