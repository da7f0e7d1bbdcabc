"""docs/torchrun.md: its commands and its program run, its table of settings is that of the code.

So does the command of docs/coming-from-etcd-v2.md, over an etcd.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support.pages import blocks

from rendezvous import RendezvousParameters, Server
from rendezvous._base.settings import C10D_SETTINGS, HandlerOptions
from rendezvous.handler.linger import LINGER_S

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

PAGE = (Path(__file__).parents[2] / "docs" / "torchrun.md").read_text()
BACKSTOP_S = 180.0
TRAIN = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
ones = torch.ones(1)
dist.all_reduce(ones)
assert ones.item() == dist.get_world_size() == int(os.environ["WORLD_SIZE"])
dist.destroy_process_group()
"""


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


def texts(language: str, page: str = "docs/torchrun.md") -> list[str]:
    return [block.text for block in blocks(page) if block.language == language]


def commands(page: str = "docs/torchrun.md") -> list[list[str]]:
    """The command lines of torchrun, without comments."""
    joined = "\n".join(texts("sh", page)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in joined if line.startswith("torchrun")]


def test_the_commands_are_found() -> None:
    """One for each of the plug-in's names."""
    text = str(commands())
    assert "--rdzv-backend=rendezvous'" in text
    assert "--rdzv-backend=rendezvous-static'" in text


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[1])
def test_a_command_of_the_page_trains(words: list[str], tmp_path: Path, free_port: int) -> None:
    """On one node with one worker, under the names that this machine has."""
    train(words, tmp_path, {"node0:29400": f"127.0.0.1:{free_port}", "$NODE_RANK": "0"})


def test_the_command_for_who_comes_from_etcd_v2_trains(tmp_path: Path, etcd_endpoint: str) -> None:
    """Over an etcd of one member; where it is on loopback, a node has to say its address."""
    (words,) = commands("docs/coming-from-etcd-v2.md")
    members = "etcd-0:2379,etcd-1:2379,etcd-2:2379"
    assert f"etcd://{members}" in " ".join(words)
    place = etcd_endpoint.removeprefix("http://")
    own = {members: place, "my-job": f"job-{uuid.uuid4()}"}
    train([words[0], "--local-addr=127.0.0.1", *words[1:]], tmp_path, own)


def train(words: list[str], tmp_path: Path, own: dict[str, str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    here = []
    for word in words[1:]:
        for theirs, ours in (own | {"train.py": str(script)}).items():
            word = word.replace(theirs, ours)  # noqa: PLW2901
        word = re.sub(r"(--nnodes|--nproc-per-node)=.*", r"\1=1", word)  # noqa: PLW2901
        here.append(word)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *here],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=BACKSTOP_S,
    )
    assert done.returncode == 0, done.stderr
    assert "has no effect" not in done.stderr


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    """Our store in torch's process group."""
    (program,) = texts("python")
    with Server() as server:
        program = program.replace("node0:29400", f"127.0.0.1:{server.port}")
        script = tmp_path / "program.py"
        script.write_text(f"rank, world_size = 0, 1\n{program}\ndist.destroy_process_group()\n")
        subprocess.run([sys.executable, str(script)], check=True, cwd="/", timeout=BACKSTOP_S)


def test_the_settings_of_the_page_are_known_with_their_defaults() -> None:
    """Each row's keys and numbers."""
    options = HandlerOptions.of(RendezvousParameters("c10d", "", "run", 1, 1))
    defaults = {
        "join_timeout": options.timeout.join_s,
        "last_call_timeout": options.timeout.last_call_s,
        "close_timeout": options.timeout.close_s,
        "heartbeat_timeout": options.timeout.heartbeat_s,
        "keep_alive_interval": options.keep_alive_interval_s,
        "keep_alive_max_attempt": options.keep_alive_max_attempt,
        "linger_timeout": LINGER_S,
    }
    table = PAGE.partition("| key | default |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    told = {
        key: value
        for keys, values in rows
        for key, value in zip(
            re.findall(r"`(\w+)`", keys),
            values.split(", ") if "," in keys else [values],
            strict=True,
        )
    }
    assert set(told) <= set(C10D_SETTINGS)
    assert {key: float(told[key]) for key in defaults} == defaults
