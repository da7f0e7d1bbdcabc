"""Certificates: who gets in, by which names, and what each side hears."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Site, site_in
from support.cli import Cli, report_command, reports_of_round, wait_for
from support.entry import gets_in

import rendezvous
import rendezvous.aio
from rendezvous import Server, StoreRefusedError, StoreValueError, TCPStore, _core, open_store

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)

TIMEOUT_S = 60.0
TOKEN = "0123456789abcdef0123456789abcdef"


def of(site: Site, name: str = "node") -> dict[str, Any]:
    return {"tls_cert": site.folder / f"{name}.pem", "tls_key": site.folder / f"{name}.key"}


def client(server: Server, host: str = "127.0.0.1", **options: Any) -> TCPStore:
    return TCPStore(host, server.port, timeout=TIMEOUT_S, **options)


def refusal(server: Server, host: str = "127.0.0.1", **options: Any) -> str:
    with pytest.raises(StoreRefusedError) as caught:
        client(server, host, **options)
    assert f"{host}:{server.port}" in str(caught.value)
    return str(caught.value)


def test_server_only_and_mutual(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """With the authority alone a server takes anybody who checks it; with tls_ca of its own, those
    that have a certificate."""
    with Server(**of(site)) as server, closing(client(server, tls_ca=site.ca)) as store:
        store.set("key", "value")
        assert store.clone().get("key") == b"value"
    with Server(**of(site), tls_ca=site.ca) as server:
        with closing(client(server, tls_ca=site.ca, **of(site))) as store:
            store.set("key", "value")
        assert "wants its clients to show a certificate" in refusal(server, tls_ca=site.ca)
        wait_for("the server's line", lambda: "it showed no certificate" in caplog.text)


def test_every_way_in_takes_the_same_names(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, options of a URL, the environment; blocking and asyncio."""
    mutual: dict[str, Any] = {**of(site), "tls_ca": site.ca}
    with Server(**mutual) as server:
        url = f"tcps://127.0.0.1:{server.port}"
        query = "&".join(f"{name}={path}" for name, path in mutual.items())

        async def through(url: str, **options: Any) -> None:
            async with rendezvous.aio.connect(url, TIMEOUT_S, **options) as store:
                await store.add("came", 1)

        open_store(url, **mutual).add("came", 1)
        open_store(f"{url}?{query}").add("came", 1)
        asyncio.run(through(url, **mutual))
        asyncio.run(through(f"{url}?{query}"))
        for name, path in mutual.items():
            monkeypatch.setenv(f"RENDEZVOUS_{name.upper()}", str(path))
        open_store(url).add("came", 1)
        asyncio.run(through(f"tcp://127.0.0.1:{server.port}"))
        assert client(server).add("came", 1) == 7
    with Server() as server, closing(client(server)) as store:
        assert store.add("came", 1) == 1


def test_arguments_go_before_the_environment_as_a_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the environment is not mixed into certificates that were given."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", TOKEN)
    with Server(**of(site)) as server:
        client(server, tls_ca=site.ca).close()
        assert "did not prove that it has the token" in refusal(server)
    with Server() as server:
        client(server).close()
        assert "the server wants a token" in refusal(server, tls_ca=site.ca)


def test_a_name_is_checked_against_what_was_typed(site: Site) -> None:
    """Or against tls_name; `*` is any name."""
    site.issue("other", "store.example")
    with Server(**of(site, "other")) as server:
        told = refusal(server, tls_ca=site.ca)
        assert "is for another name than '127.0.0.1'" in told
        client(server, tls_ca=site.ca, tls_name="store.example").close()
        client(server, tls_ca=site.ca, tls_name="*").close()
        assert "'other.example'" in refusal(server, tls_ca=site.ca, tls_name="other.example")


def test_an_expired_certificate_is_said_on_both_sides(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's and the client's."""
    site.expired("old", "127.0.0.1")
    with Server(**of(site, "old")) as server:
        assert "certificate has expired" in refusal(server, tls_ca=site.ca)
        wait_for(
            "the server's line",
            lambda: "it refused this server's certificate: it has expired" in caplog.text,
        )
    with Server(**of(site), tls_ca=site.ca) as server:
        told = refusal(server, tls_ca=site.ca, **of(site, "old"))
        assert "refused this client's certificate: it has expired" in told
        wait_for("the server's line", lambda: "certificate has expired" in caplog.text)


def test_a_strangers_certificate_is_refused_on_both_sides(site: Site, tmp_path: Path) -> None:
    """One of another authority."""
    stranger = site_in(tmp_path / "stranger")
    stranger.issue("node", "127.0.0.1")
    with Server(**of(stranger)) as server:
        assert "the server's certificate is refused" in refusal(server, tls_ca=site.ca)
        # Nobody that the system trusts vouches for it.
        assert "the server's certificate is refused" in refusal(server, tls=True)
    with Server(**of(site), tls_ca=site.ca) as server:
        told = refusal(server, tls_ca=site.ca, **of(stranger))
        assert "refused this client's certificate" in told


def test_tls_is_wanted_where_a_url_says_so(server: Server) -> None:
    """tcps:// with a server without, and the c10d protocol, which has none."""
    with pytest.raises(StoreRefusedError, match="the server speaks no TLS"):
        open_store(f"tcps://127.0.0.1:{server.port}", TIMEOUT_S)
    with pytest.raises(ValueError, match="c10d protocol has no TLS"):
        open_store(f"tcps://127.0.0.1:{server.port}?protocol=c10d", TIMEOUT_S)


def test_plain_bytes_to_a_tls_port_are_told_what_to_do(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A native client hears it; for others the log has it."""
    with Server(**of(site)) as server:
        assert "it wants TLS: connect with its certificate's authority (tls_ca)" in refusal(server)
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as other:
            other.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert other.recv(1) == b""
        wait_for("the server's line", lambda: "neither TLS nor a protocol" in caplog.text)


def test_files_that_are_replaced_are_read_again(site: Site, tmp_path: Path) -> None:
    """A new certificate of another authority: clients that have its file take it."""
    now, later = site_in(tmp_path / "site"), site_in(tmp_path / "later")
    now.issue("node", "127.0.0.1")
    later.issue("node", "127.0.0.1")
    with Server(**of(now)) as server:
        lasting = client(server, tls_ca=now.ca)
        # In two steps, as nobody replaces two files at once: between them, the old ones hold.
        (later.folder / "node.pem").replace(now.folder / "node.pem")
        client(server, tls_ca=now.ca).close()
        (later.folder / "node.key").replace(now.folder / "node.key")

        wait_for("the new certificate", lambda: gets_in(server.port, tls_ca=later.ca))
        with pytest.raises(StoreRefusedError):
            lasting.clone()
        later.ca.replace(now.ca)
        lasting.clone().set("key", "its authorities are read again, too")


def test_what_is_no_certificate_is_an_error_of_whoever_gives_it(site: Site, tmp_path: Path) -> None:
    """The message names the file and the argument."""
    path = tmp_path / "nothing.pem"
    path.write_text("nothing")
    files = of(site)
    with pytest.raises(StoreValueError, match=r"nothing\.pem.*tls_cert holds no certificate"):
        Server(tls_cert=path, tls_key=files["tls_key"])
    with pytest.raises(StoreValueError, match="tls_cert has no tls_key"):
        Server(tls_cert=files["tls_cert"])
    with pytest.raises(StoreValueError, match=r"the file of tls_ca .* cannot be read"):
        TCPStore("127.0.0.1", 1, tls_ca=tmp_path / "missing")
    with pytest.raises(TypeError, match="tls_ca is the path of a file"):
        TCPStore("127.0.0.1", 1, tls_ca=5)  # type: ignore[arg-type]
    with pytest.raises(StoreValueError, match="carries no token"):
        TCPStore("127.0.0.1", 1, protocol="c10d", tls_ca=site.ca)
    with pytest.raises(ValueError, match="are for servers"):
        open_store("hash:", tls_ca=site.ca)


def python_context(site: Site, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(site.ca))
    context.load_cert_chain(*of(site).values())
    context.maximum_version = newest
    return context


def test_pythons_own_tls_speaks_to_the_server(site: Site) -> None:
    """An independent client: mutual, TLS 1.3; and nothing older."""
    with Server(**of(site), tls_ca=site.ca) as server:
        where = ("127.0.0.1", server.port)
        with (
            socket.create_connection(where, TIMEOUT_S) as plain,
            python_context(site).wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.version() == "TLSv1.3"
            # No HELLO: an answer in words, through TLS.
            secured.sendall(b"RDZV\x63\x00\x63\x00")
            assert b"version" in secured.recv(4096)
        with socket.create_connection(where, TIMEOUT_S) as plain, pytest.raises(ssl.SSLError):
            python_context(site, ssl.TLSVersion.TLSv1_2).wrap_socket(
                plain, server_hostname="127.0.0.1"
            )


@contextmanager
def python_server(context: ssl.SSLContext) -> Iterator[int]:
    """Takes connections, and shakes hands; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as secured:
                        secured.recv(1)
                except (OSError, ssl.SSLError):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_of_tls_1_2_alone_is_told_apart(site: Site) -> None:
    """An independent server, which speaks an older version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*of(site).values())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        python_server(context) as port,
        pytest.raises(StoreRefusedError, match=r"the server speaks no TLS 1\.3"),
    ):
        TCPStore("127.0.0.1", port, timeout=TIMEOUT_S, tls_ca=site.ca)


@pytest.mark.parametrize("shows", ["its certificate", "nothing"])
def test_openssls_client_speaks_to_the_server(site: Site, shows: str) -> None:
    """Another independent client."""
    own = ["-cert", str(site.folder / "node.pem"), "-key", str(site.folder / "node.key")]
    with Server(**of(site), tls_ca=site.ca) as server:
        done = subprocess.run(
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3"),
                # The R of RDZV is no command, and it waits for what the server says at last.
                *("-nocommands", "-ign_eof"),
                *("-CAfile", str(site.ca), "-verify_return_error", "-verify_ip", "127.0.0.1"),
                *(own if shows == "its certificate" else []),
            ],
            input=b"RDZV\x63\x00\x63\x00",
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert b"Verify return code: 0 (ok)" in done.stdout
    if shows == "nothing":
        assert b"alert certificate required" in done.stderr


def test_commands_take_certificates(cli: Cli, site: Site, free_port: int) -> None:
    """serve, set, status, exec and what it runs, close: by options, the same names everywhere."""
    own = ["--tls-cert", "node.pem", "--tls-key", "node.key", "--tls-ca", "ca.pem"]
    for name in ("node.pem", "node.key", "ca.pem"):
        (cli.cwd / name).write_bytes((site.folder / name).read_bytes())
    server = cli.start("serve", "--port", "0", *own)
    endpoint = server.line("listening on").split()[-1]
    at = ["--endpoint", f"tcps://{endpoint}"]
    assert cli.run("set", "key", "value", *at, *own).returncode == 0
    assert cli.run("get", "key", *at, *own).stdout.strip() == b"value"
    assert cli.run("status", *at, *own).returncode == 0
    # By its settings instead: the job's commands find the same.
    settings = ",".join(f"{name}={path}" for name, path in (of(site) | {"tls_ca": site.ca}).items())
    node = cli.start(
        "exec", *at, "--nodes", "1", "--run-id", "job", "--rdzv-conf", settings,
        *report_command(cli.cwd),
    )  # fmt: skip
    (report,) = reports_of_round(cli.cwd, 1)
    inner = {"RENDEZVOUS_ENDPOINT": report["env"]["RENDEZVOUS_ENDPOINT"]}
    assert inner["RENDEZVOUS_ENDPOINT"].startswith("tcps://")
    assert cli.run("set", "inner", "value", **inner).returncode == 0
    found = cli.run("status", "job", *at, *own, "--json")
    assert len(json.loads(found.stdout)["participants"]) == 1
    stranger = cli.run("get", "key", "--endpoint", endpoint)
    assert stranger.returncode == 3
    assert b"it wants TLS" in stranger.stderr
    assert cli.run("close", "job", *at, *own).returncode == 0
    assert node.end() == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_nodes_of_a_job_meet_by_certificates(site: Site, free_port: int, host: str) -> None:
    """One of them hosts the store, whatever name it typed; the other checks its name."""
    mutual: dict[str, Any] = {**of(site), "tls_ca": site.ca}
    worlds: dict[int, Any] = {}

    def join(number: int, where: str) -> None:
        worlds[number] = rendezvous.join(f"{where}:{free_port}", 2, "run", **mutual)

    threads = [
        threading.Thread(target=join, args=(number, where))
        for number, where in enumerate((host, "127.0.0.1"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {world.rank for world in worlds.values()} == {0, 1}
    for world in sorted(worlds.values(), key=lambda world: world.handler.hosts_store):
        world.close()
