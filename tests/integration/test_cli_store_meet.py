"""Queues, barriers, exchanges, times to live and prefixes, from a shell."""

from __future__ import annotations

import json

import pytest
from support.cli import Cli, Running, wait_for


@pytest.fixture
def endpoint(cli: Cli) -> str:
    return cli.serve()[1]


def test_a_queue_gives_each_value_once_in_order(cli: Cli, endpoint: str) -> None:
    """Push, length, pop; bytes stay as they are."""
    at = ("--endpoint", endpoint)
    assert cli.run("push", "q", "one", *at).returncode == 0
    assert cli.run("push", "q", "-", *at, stdin=b"two\n\x00\xff").returncode == 0
    assert cli.run("length", "q", *at).stdout == b"2\n"
    assert cli.run("pop", "q", *at).stdout == b"one"
    assert cli.run("pop", "q", "--no-wait", *at).stdout == b"two\n\x00\xff"
    done = cli.run("pop", "q", "--no-wait", *at)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"rendezvous pop: the queue 'q' is empty\n"
    assert cli.run("length", "q", *at).stdout == b"0\n"


def test_pop_waits_for_a_value(cli: Cli, endpoint: str) -> None:
    """Until somebody pushes one, or the time is over."""
    at = ("--endpoint", endpoint)
    waiting = cli.start("pop", "q", *at)
    assert cli.run("push", "q", "late", *at).returncode == 0
    assert waiting.end() == 0
    assert waiting.stdout == "late"
    assert cli.run("pop", "q", "--timeout", "0.1", *at).returncode == 1


def test_a_barrier_opens_for_the_last(cli: Cli, endpoint: str) -> None:
    """A name serves once; with ranks, once a round."""
    at = ("--endpoint", endpoint)
    running = [cli.start("barrier", "b", "3", *at) for _ in range(3)]
    assert [each.end() for each in running] == [0, 0, 0]
    assert b"use a new key" in cli.run("barrier", "b", "3", *at).stderr
    for round_ in ("1", "2"):
        words = ("barrier", "c", "2", "--round", round_, *at)
        running = [cli.start(*words, "--rank", rank) for rank in ("0", "1")]
        assert [each.end() for each in running] == [0, 0]


def test_a_barrier_in_whose_time_not_all_came(cli: Cli, endpoint: str) -> None:
    """Says which ranks are missing."""
    words = ("barrier", "b", "2", "--rank", "0", "--timeout", "0.2", "--endpoint", endpoint)
    done = cli.run(*words)
    assert done.returncode == 1
    assert b"1 of 2 ranks have not arrived at key 'b': 1" in done.stderr


def _exchange(cli: Cli, endpoint: str, rank: int, *words: str) -> Running:
    return cli.start("exchange", "x", str(rank), "2", f"host{rank}", *words, "--endpoint", endpoint)


def test_an_exchange_gives_all_values_by_rank(cli: Cli, endpoint: str) -> None:
    """As lines, or as JSON."""
    running = [_exchange(cli, endpoint, 1), _exchange(cli, endpoint, 0, "--json")]
    assert [each.end() for each in running] == [0, 0]
    assert running[0].stdout == "host0\nhost1\n"
    assert json.loads(running[1].stdout) == ["host0", "host1"]


def test_a_key_with_a_time_to_live_goes_by_itself(cli: Cli, endpoint: str) -> None:
    """Without one it stays."""
    at = ("--endpoint", endpoint)
    assert cli.run("set", "brief", "x", "--ttl", "0.05", *at).returncode == 0
    assert cli.run("set", "long", "x", "--ttl", "3600", *at).returncode == 0
    wait_for("its end", lambda: cli.run("get", "brief", *at).returncode == 1)
    assert cli.run("get", "long", *at).stdout == b"x"


def test_all_keys_of_a_prefix_are_deleted(cli: Cli, endpoint: str) -> None:
    """And counted; 1 if there was none."""
    at = ("--endpoint", endpoint)
    for key in ("p/1", "p/2", "other"):
        cli.run("set", key, "x", *at)
    done = cli.run("delete", "--prefix", "p/", *at)
    assert (done.returncode, done.stdout) == (0, b"2\n")
    assert cli.run("keys", *at).stdout == b"other\n"
    done = cli.run("delete", "--prefix", "p/", *at)
    assert (done.returncode, done.stdout) == (1, b"0\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("delete",), "no key"),
        (("delete", "--prefix", ""), "not empty"),
        (("delete", "a", "--prefix", "b"), "give keys, or --prefix"),
        (("set", "a", "b", "--ttl", "soon"), "--ttl"),
        (("barrier", "b", "0"), "N"),
        (("barrier", "b", "2", "--rank", "2"), "rank 2 is not less than N"),
        (("barrier", "b", "2", "--round", "2"), "--round is for --rank"),
        (("exchange", "x", "2", "2", "v"), "rank 2 is not less than N"),
        (("exchange", "x", "a", "2", "v"), "R"),
        (("push", "q"), "VALUE"),
        (("pop",), "QUEUE"),
    ],
)
def test_wrong_arguments(cli: Cli, endpoint: str, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and which one."""
    done = cli.run(words[0], "--endpoint", endpoint, *words[1:])
    assert done.returncode == 2
    assert told in done.stderr.decode()
