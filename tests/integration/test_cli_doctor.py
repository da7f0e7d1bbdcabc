"""`rendezvous doctor` names what is wrong: each fault is made on purpose."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.background import Background
from support.cli import Cli, free_port, wait_for
from support.etcd import NO_ETCD, binaries
from support.machines import machines, why_not
from support.process import PythonProcess

from rendezvous import RendezvousClosedError, Server, TCPStore, _core
from rendezvous.backends.etcd import EtcdServer
from rendezvous.cli.doctor import processes

_NO_MACHINES = why_not()
PORT = 29488


def doctor(cli: Cli, endpoint: str, *words: str, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the last finding of each check."""
    done = cli.run("doctor", "--endpoint", endpoint, "--json", *words, stdin=b"", **env)
    assert b"Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] == (done.returncode == 0)
    return done.returncode, {each["check"]: each for each in report["findings"]}


def test_all_is_well(cli: Cli) -> None:
    """Each check has a line; nothing is left in the store."""
    _, endpoint = cli.serve()
    code, found = doctor(cli, endpoint, "--nodes", "2")
    assert code == 0
    assert list(found) == ["name", "port", "server", "address", "latency", "sizes", "limits"]
    assert found["name"]["addresses"] == ["127.0.0.1"]
    assert found["address"]["observed"] == "127.0.0.1"
    assert 0 < found["latency"]["p50_ms"] <= found["latency"]["p99_ms"]
    assert set(found["sizes"]["took_ms"]) == {"1400", "8900", "1048576"}
    host, port = endpoint.split(":")
    assert TCPStore(host, int(port), wait_for_workers=False).num_keys() == 0
    text = cli.run("doctor", "--endpoint", endpoint).stdout.decode().splitlines()
    assert text[1].startswith(f"ok   port:       {endpoint} is reached, in ")


def test_a_name_that_does_not_resolve(cli: Cli) -> None:
    """Nothing else is tried."""
    code, found = doctor(cli, "no-such-host.invalid:29400")
    assert (code, list(found)) == (3, ["name"])
    assert "'no-such-host.invalid' has no address" in found["name"]["text"]
    assert "spelling" in found["name"]["todo"]


def test_a_wrong_endpoint_where_nothing_listens(cli: Cli) -> None:
    """The machine is told to be there; here, what a server started here may use is checked."""
    code, found = doctor(cli, f"127.0.0.1:{free_port()}", "--nodes", "3")
    assert (code, list(found)) == (3, ["name", "port", "limits"])
    assert found["port"]["how"] == "refused"
    assert "nothing listens" in found["port"]["text"]
    assert "start the server" in found["port"]["todo"]


@pytest.mark.skipif(bool(_NO_MACHINES), reason=_NO_MACHINES)
def test_packets_that_are_dropped(cli: Cli) -> None:
    """What goes out and never comes back is no refusal: the firewall or the route is named."""
    with machines(["alpha", "beta"]) as (alpha, beta):
        server = cli.start(
            "serve", "--host", "192.168.77.2", "--port", str(PORT), "--insecure", before=beta.before
        )
        server.line("listening on")
        alpha.connect("beta", PORT)
        beta.run("ip", "route", "add", "blackhole", f"{alpha.address}/32")
        ran = cli.start("doctor", "--endpoint", f"beta:{PORT}", "--json", before=alpha.before)
        assert ran.end() == 3
        found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
        assert list(found) == ["name", "port"]
        assert found["port"]["how"] == "dropped"
        assert "packets are dropped" in found["port"]["text"]
        assert "firewall" in found["port"]["todo"]


@pytest.mark.skipif(bool(_NO_MACHINES), reason=_NO_MACHINES)
def test_large_packets_that_are_lost(cli: Cli) -> None:
    """A path whose MTU is smaller than both ends believe: small requests work."""
    with machines(["alpha", "beta"]) as (alpha, beta):
        server = cli.start(
            "serve", "--host", "192.168.77.2", "--port", str(PORT), "--insecure", before=beta.before
        )
        server.line("listening on")
        hub = alpha.namespace.rpartition("-")[0] + "-hub"
        for port in ("port0", "port1"):
            alpha.run("ip", "netns", "exec", hub, "ip", "link", "set", port, "mtu", "800")
        ran = cli.start("doctor", "--endpoint", f"beta:{PORT}", "--json", before=alpha.before)
        code = ran.end()
        found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
        assert (code, found["latency"]["state"]) == (3, "ok")
        assert "1,400 B did not" in found["sizes"]["text"]
        assert "MTU" in found["sizes"]["todo"]
        assert found["address"]["observed"] == alpha.address


def test_a_frozen_server(cli: Cli) -> None:
    """On this machine even the process and what wakes it up are named."""
    server, endpoint = cli.serve()
    server.send(signal.SIGSTOP)
    try:
        code, found = doctor(cli, endpoint, "--timeout", "1")
    finally:
        server.send(signal.SIGCONT)
    assert (code, list(found)) == (3, ["name", "port", "server"])
    assert "is frozen" in found["server"]["text"]
    assert f"kill -CONT {server.process.pid}" in found["server"]["todo"]


@contextmanager
def _program(says: bytes | None) -> Iterator[int]:
    """Another program at a port, which says this to everybody, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    if says is not None:
                        peer.recv(100)
                        peer.sendall(says)

        if says is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_another_program_on_the_port(cli: Cli, says: bytes) -> None:
    """What it answers is shown, and which process it is."""
    with _program(says) as port:
        code, found = doctor(cli, f"127.0.0.1:{port}")
    assert (code, found["server"]["state"]) == (3, "unreachable")
    text = found["server"]["text"]
    assert text.startswith("another program has the port: ")
    assert ("HTTP/1.1 400" in text) == bool(says)
    assert "(pid " in text
    assert "another port" in found["server"]["todo"]


def test_another_program_that_says_nothing(cli: Cli) -> None:
    """Cannot be told from a server that is too busy: both are said."""
    with _program(None) as port:
        code, found = doctor(cli, f"127.0.0.1:{port}", "--timeout", "0.7")
    assert code == 3
    assert "frozen, overloaded or full, or another program" in found["server"]["text"]


def test_full_descriptors(cli: Cli) -> None:
    """The server says so, and the limit to raise is named."""
    with PythonProcess(
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "sys.argv = ['rendezvous', 'serve', '--port', '0']\n"
        "runpy.run_module('rendezvous', run_name='__main__')\n"
    ) as server:
        port = int(_logged(server, "listening on").rpartition(":")[2])
        room = int(_logged(server, "room for").partition("room for ")[2].split()[0])
        stores = [TCPStore("127.0.0.1", port, wait_for_workers=False) for _ in range(room)]
        code, found = doctor(cli, f"127.0.0.1:{port}")
        assert (code, list(found)[-1]) == (3, "limits")
        assert "no descriptors left" in found["limits"]["text"]
        assert "ulimit -n" in found["limits"]["todo"]
        del stores


def _logged(server: PythonProcess, part: str) -> str:
    def look() -> str | None:
        return next((line for line in server.stderr.splitlines() if part in line), None)

    return wait_for(part, look)


def test_limits_that_do_not_suffice_for_the_nodes(cli: Cli) -> None:
    """Before they come."""
    with PythonProcess(
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "sys.argv = ['rendezvous', 'serve', '--port', '0']\n"
        "runpy.run_module('rendezvous', run_name='__main__')\n"
    ) as server:
        port = int(_logged(server, "listening on").rpartition(":")[2])
        code, found = doctor(cli, f"127.0.0.1:{port}", "--nodes", "1000")
        assert code == 1
        assert found["limits"]["descriptors"] == 100
        assert doctor(cli, f"127.0.0.1:{port}", "--nodes", "10")[0] == 0


@pytest.mark.parametrize("own", ["wrong", "none"])
def test_a_wrong_token(cli: Cli, own: str) -> None:
    """Another one than the server's, or none."""
    with Server("127.0.0.1", 0, token=_core.make_token()) as server:
        env = {"RENDEZVOUS_TOKEN": _core.make_token()} if own == "wrong" else {}
        code, found = doctor(cli, f"127.0.0.1:{server.port}", **env)
    assert (code, list(found)) == (1, ["name", "port", "token"])
    assert "token" in found["token"]["text"]
    assert "security.md" in found["token"]["todo"]


def test_the_right_token(cli: Cli) -> None:
    """Is said to be taken."""
    token = _core.make_token()
    with Server("127.0.0.1", 0, token=token) as server:
        code, found = doctor(cli, f"127.0.0.1:{server.port}", RENDEZVOUS_TOKEN=token)
    assert code == 0
    assert "takes the token" in found["server"]["text"]


def test_a_wrong_run_id(cli: Cli) -> None:
    """With the run that may be meant; a right one with how many have joined."""
    _, endpoint = cli.serve()
    host, port = endpoint.split(":")
    store = TCPStore(host, int(port), wait_for_workers=False)
    settings = _core.GroupSettings(2, 2, 3600.0, 3600.0, 3)
    client = _core.RunClient(store, "my-job", _core.Node("a", 1, 0), settings, 3600)
    join = Background(client.join, 0, 3600)
    wait_for("the join", lambda: client.status(60).participants == 1)
    code, found = doctor(cli, endpoint, "--run-id", "my-jbo")
    assert code == 1
    assert "'my-job' is there" in found["run"]["text"]
    job = {"RENDEZVOUS_RUN_ID": "my-job", "RENDEZVOUS_ENDPOINT": endpoint}
    for words, named in (((), job), (("--run-id", "my-job"), {})):
        code, found = doctor(cli, endpoint, *words, **named)
        assert (code, found["run"]["state"]) == (0, "note")
        assert "1 of at least 2 nodes have joined" in found["run"]["text"]
    # Of another endpoint than the job's nobody has asked about its run.
    _, found = doctor(cli, endpoint, **job | {"RENDEZVOUS_ENDPOINT": "elsewhere:1"})
    assert "run" not in found
    wrong = job | {"RENDEZVOUS_RUN_ID": "x" * 2000}
    done = cli.run("doctor", "--endpoint", endpoint, stdin=b"", **wrong)
    assert (done.returncode, b"$RENDEZVOUS_RUN_ID: a run id has 1 to" in done.stderr) == (2, True)
    client.close_run(60)
    with pytest.raises(RendezvousClosedError):
        join.result()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--nodes", "0"), "--nodes"),
        (("--endpoint", "a:b:c"), "a:b:c"),
        (("--endpoint", "file:///x"), "does not name a server"),
        (("--run-id", ""), "1 to 1024 bytes"),
        (("more",), "unrecognized arguments"),
    ],
)
def test_wrong_arguments(cli: Cli, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and what is wrong."""
    done = cli.run("doctor", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()


def test_etcd_that_is_not_there(cli: Cli) -> None:
    """Each member has its lines."""
    endpoint = f"127.0.0.1:{free_port()},127.0.0.1:1"
    done = cli.run("doctor", "--endpoint", endpoint, "--backend", "etcd")
    assert done.returncode == 3
    assert done.stdout.count(b"FAIL port:") == 2


@pytest.mark.skipif(not binaries(), reason=NO_ETCD)
def test_etcd_that_is_there(cli: Cli) -> None:
    """Its members answer; a run that nobody has joined is told."""
    with EtcdServer() as server:
        endpoint = server.get_endpoint()
        code, found = doctor(cli, endpoint, "--backend", "etcd")
        assert (code, found["etcd"]["state"]) == (0, "ok")
        code, found = doctor(cli, endpoint, "--backend", "etcd", "--run-id", "x")
        assert (code, found["run"]["state"]) == (1, "wrong")


def test_it_runs_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, nothing is known of processes, and nothing fails."""

    def nothing(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", nothing)
    assert processes.find_listener("127.0.0.1", 1) is None
    assert processes.somaxconn() is None
