"""README.md: its programs and its lines for a shell run, without a token and with one."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, wait_for
from support.pages import blocks

from rendezvous import TCPStore

README = (Path(__file__).parents[2] / "README.md").read_text()
TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


def block(language: str, part: str) -> str:
    """The one that contains `part`."""
    found = [each.text for each in blocks("README.md") if each.language == language]
    (text,) = [each for each in found if part in each]
    return text


def run_in_thread(text: str, names: dict[str, Any]) -> threading.Thread:
    thread = threading.Thread(target=exec, args=(compile(text, "README.md", "exec"), names))
    thread.start()
    return thread


def test_two_nodes_join(free_port: int) -> None:
    """The first program, on both."""
    text = block("python", "rendezvous.join").replace("node0:29400", f"127.0.0.1:{free_port}")
    worlds: list[dict[str, Any]] = [{}, {}]
    # The third and the fourth node are not waited for.
    text = text.replace("nodes=(2, 4)", "nodes=2")
    threads = [run_in_thread(text, names) for names in worlds]
    for thread in threads:
        thread.join()
    assert sorted(names["world"].rank for names in worlds) == [0, 1]


def test_the_store_alone(free_port: int) -> None:
    """The second program: a master, and one more client that brings what it waits for."""
    text = block("python", "is_master=True")
    for theirs, ours in (("node0", "127.0.0.1"), ("29400", str(free_port)), ("=4", "=2")):
        text = text.replace(theirs, ours)
    names: dict[str, Any] = {}
    thread = run_in_thread(text, names)
    client = TCPStore("127.0.0.1", free_port, world_size=2, timeout=TIMEOUT_S)
    client.set("weights", "there")
    thread.join()
    assert names["swapped"]
    assert client.get("leader") == b"me"


def test_a_command_on_every_node(cli: Cli, free_port: int) -> None:
    """The line to start a job with, and the server that outlives it."""
    (line,) = re.findall(r"^rendezvous (exec --endpoint node0\S* .*)$", README, re.MULTILINE)
    words = line.replace("node0:29400", f"127.0.0.1:{free_port}").replace("2:4", "2").split()
    program = words.index("--") + 1
    words[program:] = ["sh", "-c", "echo rank $RANK of $WORLD_SIZE"]
    nodes = [cli.start(*words) for _ in range(2)]
    assert [node.end() for node in nodes] == [0, 0]
    assert sorted(node.stdout for node in nodes) == ["rank 0 of 2\n", "rank 1 of 2\n"]
    (serve,) = re.findall(r"`rendezvous (serve --host [\d.]+)`", README)
    server = cli.start(*serve.split(), "--port", "0")
    endpoint = f"127.0.0.1:{server.line('listening on').rpartition(':')[2]}"
    found = wait_for("status", lambda: cli.run("status", "--endpoint", endpoint))
    assert found.returncode == 0
