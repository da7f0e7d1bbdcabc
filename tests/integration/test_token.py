"""A token in the environment, a file, or an argument: who gets in, and what the others hear."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.cli import Cli, environment, wait_for
from support.entry import gets_in

import rendezvous
import rendezvous.aio
from rendezvous import (
    Server,
    StoreRefusedError,
    StoreValueError,
    TCPStore,
    _core,
    open_store,
)

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)

ONE = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
TIMEOUT_S = 60.0


def client(server: Server, token: object = None) -> TCPStore:
    return TCPStore("127.0.0.1", server.port, timeout=TIMEOUT_S, token=token)  # type: ignore[arg-type]


def test_a_token_is_given_as_text_bytes_file_or_by_a_function(tmp_path: Path) -> None:
    """All ways of giving it are the same token."""
    path = tmp_path / "token"
    path.write_text(f"# of this job\n{ONE}\n")
    ways: list[object] = [ONE, ONE.encode(), path, lambda: ONE, lambda: path]
    for of_server in ways:
        with Server(token=of_server) as server:  # type: ignore[arg-type]
            for number, way in enumerate(ways):
                store = client(server, way)
                assert store.add("came", 1) == number + 1
                store.close()


def test_stores_of_every_kind_find_the_token_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TCPStore, open_store and asyncio's connect need no argument."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", ONE)
    with Server() as server:
        url = f"tcp://127.0.0.1:{server.port}"
        client(server).set("key", "value")
        assert open_store(url).get("key") == b"value"

        async def main() -> None:
            async with rendezvous.aio.connect(url, TIMEOUT_S) as store:
                await store.set("large", b"x" * 20_000_000)
                assert len(await store.get("large")) == 20_000_000
                assert await store.get("key") == b"value"

        asyncio.run(main())
        with pytest.raises(StoreRefusedError, match="it wants a token: set RENDEZVOUS_TOKEN_FILE"):
            client(server, "")


def test_the_wrong_token_is_refused_at_once_in_a_sentence() -> None:
    """It is an error of its own, which no waiting heals."""
    with Server(token=ONE) as server:
        with pytest.raises(StoreRefusedError, match="does not know the token") as caught:
            client(server, OTHER)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert OTHER not in str(caught.value)
        assert isinstance(caught.value, ConnectionError)


def test_asyncio_hears_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dial of asyncio's store is refused in the same words."""

    async def main(url: str) -> None:
        with pytest.raises(StoreRefusedError, match="does not know the token"):
            async with rendezvous.aio.connect(url, TIMEOUT_S):
                pass

    with Server(token=ONE) as server:
        monkeypatch.setenv("RENDEZVOUS_TOKEN", OTHER)
        asyncio.run(main(f"tcp://127.0.0.1:{server.port}"))


def test_a_token_and_a_server_without_one_do_not_go_together() -> None:
    """The client learns that the server has none."""
    with Server() as server, pytest.raises(StoreRefusedError, match="the server speaks no TLS"):
        client(server, ONE)


def test_what_is_no_token_is_an_error_of_whoever_gives_it(tmp_path: Path) -> None:
    """The message names the file and the line, and not the secret."""
    path = tmp_path / "token"
    path.write_text("short-one\n")
    with pytest.raises(StoreValueError, match=r"token: line 1: .* 9 bytes") as caught:
        Server(token=path)
    assert "short-one" not in str(caught.value)
    with pytest.raises(StoreValueError, match="cannot be read"):
        Server(token=tmp_path / "missing")
    with pytest.raises(TypeError):
        Server(token=5)  # type: ignore[arg-type]
    with pytest.raises(StoreValueError, match="carries no token"):
        TCPStore("127.0.0.1", 1, protocol="c10d", token=ONE)


def test_a_token_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """A server takes the old and the new one while both are in its file, and then the new alone."""
    path = tmp_path / "token"
    path.write_text(ONE)

    def replace(text: str) -> None:
        draft = tmp_path / "draft"
        draft.write_text(text)
        draft.replace(path)

    with Server(token=path) as server:
        lasting = client(server, path)
        assert gets_in(server.port, token=ONE)
        assert not gets_in(server.port, token=OTHER)
        replace(f"{OTHER}\n{ONE}\n")
        wait_for("the new token", lambda: gets_in(server.port, token=OTHER))
        assert gets_in(server.port, token=ONE)
        replace(OTHER)
        wait_for("the end of the old token", lambda: not gets_in(server.port, token=ONE))
        assert gets_in(server.port, token=OTHER)
        # Half a file changes nothing.
        replace("half")
        assert gets_in(server.port, token=OTHER)
        lasting.set("key", "it began with the old one, and goes on")
        replace(OTHER)
        assert lasting.clone().get("key").startswith(b"it began")


def test_torch_workers_of_this_machine_need_no_token() -> None:
    """Their protocol cannot carry one."""
    with Server(token=ONE) as server:
        worker = TCPStore("127.0.0.1", server.port, protocol="c10d", timeout=TIMEOUT_S)
        worker.set("key", "value")
        assert client(server, ONE).get("key") == b"value"


def test_pythons_own_tls_without_the_token_is_refused() -> None:
    """An independent peer: TLS 1.3 by certificates, and TLS 1.2."""
    with Server(token=ONE) as server:
        for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.maximum_version = newest
            with (
                socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain,
                pytest.raises(ssl.SSLError, match=r"(?i)alert"),
            ):
                context.wrap_socket(plain)


def derived(label: str, length: int) -> str:
    """RFC 5869 with SHA-256, of the token ONE for a member of the default name space, as hex."""
    secret = hmac.digest(b"rendezvous", ONE.encode(), "sha256")
    info = f"{label}\0default/member".encode()
    return hmac.digest(secret, info + b"\1", "sha256")[:length].hex()


@pytest.mark.parametrize("key", ["the token's", "another"])
def test_openssls_client_gets_in_with_the_key_of_the_token_alone(key: str) -> None:
    """An independent peer, with the key as the documentation derives it."""
    psk = derived("rendezvous 1 psk", 32) if key == "the token's" else "00" * 32
    identity = f"rendezvous1/default/member/{derived('rendezvous 1 key id', 8)}"
    with Server(token=ONE) as server:
        done = subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"),
                *("-psk_identity", identity, "-psk", psk),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    if key == "another":
        assert b"alert" in done.stderr
        assert done.returncode != 0
    else:
        assert b"Reused, TLSv1.3" in done.stdout


def test_a_client_that_would_have_to_say_hello_twice_is_refused() -> None:
    """It offers a key of another group first: what comes second could be of any length."""
    with Server(token=ONE) as server:
        done = subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"),
                *("-groups", "P-256:X25519", "-psk", derived("rendezvous 1 psk", 32)),
                *(
                    "-psk_identity",
                    f"rendezvous1/default/member/{derived('rendezvous 1 key id', 8)}",
                ),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode != 0
    assert b"handshake failure" in done.stderr


def test_who_has_the_token_gets_in_beside_one_that_guesses() -> None:
    """At the same address: each of them is slowed down, and none is kept out for good."""
    ended = threading.Event()

    def guess(port: int) -> int:
        count = 0
        while not ended.is_set():
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as stranger:
                stranger.sendall(b"\x16" + os.urandom(300))
                with suppress(ConnectionResetError):
                    stranger.recv(1)
            count += 1
        return count

    with Server(token=ONE) as server:
        guesses = [Background(guess, server.port) for _ in range(100)]
        try:
            # By now each guess waits for a second, and so all the time one has just been wrong.
            for _ in range(3):
                client(server, ONE).close()
        finally:
            ended.set()
        assert sum(each.result() for each in guesses) > 20


def test_one_saved_token_is_found_by_server_and_commands(cli: Cli) -> None:
    """`rendezvous token --save` once, and nothing else."""
    home: dict[str, Any] = {"HOME": str(cli.cwd), "XDG_CONFIG_HOME": ""}
    assert cli.run("token", "--save", **home).returncode == 0
    saved = cli.cwd / ".config" / "rendezvous" / "token"
    assert saved.stat().st_mode & 0o777 == 0o600
    again = cli.run("token", "--save", **home)
    assert again.returncode == 1
    assert str(saved) in again.stderr.decode()
    server = cli.start("serve", "--host", "0.0.0.0", "--port", "0", **home)
    endpoint = f"127.0.0.1:{server.line('listening on').rpartition(':')[2]}"
    assert cli.run("set", "key", "value", "--endpoint", endpoint, **home).returncode == 0
    found = cli.run("get", "key", "--endpoint", endpoint, **home)
    assert found.stdout.strip() == b"value"
    assert cli.run("status", "--endpoint", endpoint, **home).returncode == 0
    stranger = cli.run("get", "key", "--endpoint", endpoint, HOME=str(cli.cwd / "nobody"))
    assert stranger.returncode != 0
    assert b"it wants a token" in stranger.stderr
    server.line("it came without TLS")


def test_token_prints_another_one_each_time(cli: Cli) -> None:
    """A token is 32 random bytes."""
    tokens = {cli.run("token").stdout.decode().strip() for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 64 for token in tokens)


def test_nodes_of_a_job_meet_with_a_token_and_strangers_do_not(cli: Cli, free_port: int) -> None:
    """One of the nodes hosts the store; who has another token gets a sentence, and no seat."""
    endpoint = f"127.0.0.1:{free_port}"
    held = cli.cwd / "held"
    command = ["--run-id", "job", "--", "sh", "-c", f"while [ ! -e {held} ]; do sleep 0.05; done"]
    nodes = [cli.start_exec(endpoint, "2", *command, RENDEZVOUS_TOKEN=ONE) for _ in range(2)]
    for node in nodes:
        node.line("round 1")
    stranger = cli.start_exec(endpoint, "2", *command, RENDEZVOUS_TOKEN=OTHER)
    assert stranger.end() != 0
    assert "does not know the token" in stranger.stderr
    held.touch()
    assert [node.end() for node in nodes] == [0, 0]


def test_a_token_is_read_from_a_descriptor_that_nobody_else_gets(cli: Cli) -> None:
    """A pipe, which is read once; every store of the process has it, and no command of exec."""
    read, write = os.pipe()
    os.write(write, f"{ONE}\n".encode())
    os.close(write)
    code = (
        "import os, sys, rendezvous\n"
        "port = int(sys.argv[1])\n"
        "stores = [rendezvous.TCPStore('127.0.0.1', port, timeout=60) for _ in range(2)]\n"
        "print(stores[1].add('came', 1), os.get_inheritable(int(sys.argv[2])))\n"
    )
    with Server(token=ONE) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, str(server.port), str(read)],
            env=environment(RENDEZVOUS_TOKEN_FD=str(read)),
            pass_fds=[read],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        os.close(read)
        where = f"127.0.0.1:{server.port}"
        wrong = cli.run("get", "key", "--endpoint", where, RENDEZVOUS_TOKEN_FD="77")
    assert done.stdout == b"1 False\n"
    assert wrong.returncode == 1
    assert b"the descriptor 77 of RENDEZVOUS_TOKEN_FD cannot be read" in wrong.stderr


def test_exec_takes_a_descriptor_and_passes_it_to_nobody(cli: Cli, free_port: int) -> None:
    """Its command would find something else under that number."""
    file = cli.cwd / "token"
    file.write_text(ONE)
    shell = f'exec 7<{file}; exec "$0" "$@"'
    node = cli.start(
        "exec", "--endpoint", f"127.0.0.1:{free_port}", "--nodes", "1", "--",
        "sh", "-c", "echo fd=$RENDEZVOUS_TOKEN_FD; test ! -e /proc/self/fd/7",
        before=("sh", "-c", shell), RENDEZVOUS_TOKEN_FD="7",
    )  # fmt: skip
    assert node.end() == 0
    assert node.stdout == "fd=\n"


def test_arguments_and_settings_take_a_token(tmp_path: Path, free_port: int) -> None:
    """open_store, asyncio's connect, join and follow, handlers, by the same names."""
    path = tmp_path / "token"
    path.write_text(ONE)
    where = f"127.0.0.1:{free_port}"
    settings: dict[str, Any] = {"token_file": str(path)}
    with rendezvous.join(where, run_id="run", **settings) as world:
        assert open_store(f"tcp://{where}", token=ONE).add("came", 1) == 1
        with pytest.raises(StoreRefusedError):
            open_store(f"tcp://{where}")

        async def main() -> None:
            async with rendezvous.aio.connect(f"tcp://{where}", TIMEOUT_S, token=ONE) as store:
                assert await store.add("came", 1) == 2
            async with rendezvous.aio.join(where, (1, 1), "other", token=path) as other:
                assert other.rank == 0
            async with rendezvous.aio.follow(where, "run", token=ONE) as changes:
                assert (await anext(changes)).world_size == 1

        asyncio.run(main())
        assert world.handler.hosts_store
    with rendezvous.join(where, run_id="run", token=lambda: path) as world:
        assert open_store(f"tcp://{where}", token=path).add("came", 1) == 1
    with pytest.raises(ValueError, match="use one of them"):
        rendezvous.join(where, run_id="run", token=ONE, token_file=str(path))


def test_a_token_of_another_name_space_is_told_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both sides say which one it is."""
    other = _core.make_token("other")
    with Server(token=ONE) as server:
        with pytest.raises(StoreRefusedError, match="does not know the token other/member/"):
            client(server, other)
        wait_for("the server's line", lambda: "it offered token 'other/member/" in caplog.text)
        assert other.rpartition(":")[2] not in caplog.text


def test_tls_where_none_is_spoken_and_an_old_one_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An independent peer hears an alert at once, and the server's log says what it was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for token, newest, told in (
        ("", ssl.TLSVersion.TLSv1_3, "it speaks TLS, and this server was started without"),
        (ONE, ssl.TLSVersion.TLSv1_2, "it speaks no TLS 1.3"),
    ):
        context.maximum_version = newest
        with Server(token=token) as server:
            with (
                socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as plain,
                pytest.raises(ssl.SSLError, match=r"(?i)alert"),
            ):
                context.wrap_socket(plain)
            wait_for("the server's line", lambda told=told: told in caplog.text)  # type: ignore[misc]
