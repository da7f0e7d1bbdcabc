"""`rendezvous get | set | add | cas | wait | delete | keys` against a server process."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.cli import Cli, cli_in, environment, free_port
from support.process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    with cli_in(tmp_path_factory.mktemp("store")) as cli:
        yield cli, cli.serve()[1]


class Store:
    """The commands against the server, with keys of this test alone."""

    def __init__(self, cli: Cli, endpoint: str) -> None:
        self.cli = cli
        self.endpoint = endpoint

    def __call__(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
        done = self.cli.run(*arguments, stdin=stdin, RENDEZVOUS_ENDPOINT=self.endpoint)
        assert b"Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1
        return done.returncode, done.stdout


@pytest.fixture
def store(server: tuple[Cli, str]) -> Store:
    return Store(*server)


def test_get_prints_what_was_set(store: Store) -> None:
    """The value comes back byte for byte, without a newline into a pipe."""
    assert store("set", "a", "1 2\t3") == (0, b"")
    assert store("get", "a") == (0, b"1 2\t3")


def test_values_are_bytes(store: Store) -> None:
    """`set KEY -` takes any bytes from stdin."""
    value = bytes(range(256)) * 10
    assert store("set", "binary", "-", stdin=value) == (0, b"")
    assert store("get", "binary") == (0, value)


def test_empty_value(store: Store) -> None:
    """An empty value is a value."""
    assert store("set", "empty", "") == (0, b"")
    assert store("get", "empty") == (0, b"")


def test_get_of_a_missing_key_says_no_at_once(store: Store) -> None:
    """A missing key is an answer, not something to wait for."""
    done = store.cli.run("get", "missing", "--endpoint", store.endpoint)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"rendezvous get: no such key: 'missing'\n"


def test_get_on_a_terminal_ends_the_line(store: Store) -> None:
    """A prompt after the value starts on a line of its own."""
    store("set", "shown", "value")
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine has no pseudo terminals: {error}")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rendezvous", "get", "shown"],
            cwd=store.cli.cwd,
            env=environment(RENDEZVOUS_ENDPOINT=store.endpoint),
            stdin=subprocess.DEVNULL,
            stdout=slave,
            check=False,
        )
        assert done.returncode == 0
        assert os.read(master, 100) == b"value\r\n"
    finally:
        os.close(master)
        os.close(slave)


def test_get_wait_returns_when_the_key_is_set(store: Store) -> None:
    """`get --wait` blocks until somebody sets the key."""
    waiting = store.cli.start("get", "--wait", "later", "--endpoint", store.endpoint)
    assert store("set", "later", "now") == (0, b"")
    assert waiting.end() == 0
    assert waiting.stdout == "now"


def test_add_counts(store: Store) -> None:
    """`add` prints the new number; it may be negative."""
    assert store("add", "n") == (0, b"1\n")
    assert store("add", "n", "41") == (0, b"42\n")
    assert store("add", "n", "-2") == (0, b"40\n")


def test_add_to_what_is_no_number(store: Store) -> None:
    """A value that is no number is told, and stays."""
    store("set", "word", "abc")
    assert store("add", "word")[0] == 1
    assert store("get", "word") == (0, b"abc")


def test_cas_says_whether_it_swapped(store: Store) -> None:
    """`cas` prints what is there now, and succeeds only if it wrote it."""
    assert store("cas", "leader", "", "a") == (0, b"a")
    assert store("cas", "leader", "", "b") == (1, b"a")
    assert store("cas", "leader", "x", "a") == (1, b"a")
    assert store("cas", "leader", "a", "b") == (0, b"b")


def test_wait_returns_when_all_keys_are_there(store: Store) -> None:
    """`wait` blocks until the last of the keys is set."""
    store("set", "w0", "")
    waiting = store.cli.start("wait", "w0", "w1", "--endpoint", store.endpoint)
    store("set", "w1", "")
    assert waiting.end() == 0
    assert (waiting.stdout, waiting.stderr) == ("", "")


def test_wait_that_times_out_names_the_key(store: Store) -> None:
    """Exit code 1, as the store has answered, and one line that says what was waited for."""
    for command in (["wait"], ["get", "--wait"]):
        done = store.cli.run(*command, "never", "--timeout", "0.2", "--endpoint", store.endpoint)
        assert done.returncode == 1
        assert b"timeout" in done.stderr
        assert b"never" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_server_that_does_not_answer_is_no_missing_key(store: Store) -> None:
    """Exit code 3: what it has is not known."""
    with ServerProcess() as server:
        server.pause()
        endpoint = f"127.0.0.1:{server.port}"
        for command in (["get"], ["get", "--wait"], ["wait"]):
            done = store.cli.run(*command, "k", "--timeout", "0.3", "--endpoint", endpoint)
            assert done.returncode == 3
            assert len(done.stderr.splitlines()) == 1


def test_keys_that_are_no_text_can_be_given_back(store: Store) -> None:
    """What `keys` prints, as bytes, is what `get`, `wait` and `delete` take."""
    name = os.fsdecode(b"odd/\xff\xfe")
    assert store("set", name, "value")[0] == 0
    code, listed = store("keys", "odd/")
    assert (code, listed) == (0, b"odd/\xff\xfe\n")
    again = os.fsdecode(listed.removesuffix(b"\n"))
    assert store("get", again) == (0, b"value")
    assert store("wait", again) == (0, b"")
    assert store("delete", again) == (0, b"")
    assert store("get", again)[0] == 1


def test_delete(store: Store) -> None:
    """`delete` succeeds if any key was there, and names those that were not."""
    store("set", "d0", "")
    done = store.cli.run("delete", "d0", "d1", "--endpoint", store.endpoint)
    assert done.returncode == 0
    assert done.stderr == b"rendezvous delete: no such key: 'd1'\n"
    assert store("delete", "d0", "d1")[0] == 1


def test_keys_are_sorted_one_a_line(store: Store) -> None:
    """`keys PREFIX` lists what begins with the prefix."""
    for name in ("list/b", "list/a", "listen"):
        store("set", name, "")
    assert store("keys", "list/") == (0, b"list/a\nlist/b\n")
    code, out = store("keys")
    assert code == 0
    assert {b"list/a", b"list/b", b"listen"} <= set(out.splitlines())
    assert store("keys", "nothing begins with this") == (0, b"")


def test_a_reader_that_stops_reading_is_no_error(store: Store) -> None:
    """`keys | head -1` shows no traceback."""
    for i in range(3):
        store("set", f"pipe/{i}", "")
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rendezvous", "keys"],
            cwd=store.cli.cwd,
            env=environment(RENDEZVOUS_ENDPOINT=store.endpoint),
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == b""


def test_no_server_is_one_clear_line(store: Store) -> None:
    """Exit code 3, and a line that names the endpoint."""
    endpoint = f"127.0.0.1:{free_port()}"
    done = store.cli.run("get", "k", "--timeout", "0.3", "--endpoint", endpoint)
    assert done.returncode == 3
    assert endpoint.encode() in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_verbose_shows_where_an_error_came_from(store: Store) -> None:
    """-v adds the traceback for who reports a bug."""
    done = store.cli.run("get", "-v", "missing", "--endpoint", store.endpoint)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
