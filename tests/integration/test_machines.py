"""Several machines: MASTER_ADDR is one address, and leads to rank 0 from each of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.cli import Cli, Running, report_command, reports, reports_of_round, stop, wait_for
from support.etcd import NO_ETCD, binaries
from support.machines import Machine, machines, why_not
from support.process import PythonProcess

from rendezvous import _core
from rendezvous._base.endpoint import format_endpoint

PORT = 29477
# However slow this machine is, nobody is taken for dead before the test has it killed.
CONF = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=60"

_WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)


@pytest.fixture
def pair() -> Iterator[list[Machine]]:
    with machines(["alpha", "beta"]) as made:
        yield made


def start(
    cli: Cli, machine: Machine, endpoint: str, nodes: str, directory: Path, *words: str
) -> Running:
    """A node of the job there, whose command reports to the directory."""
    return cli.start(
        "exec", "--endpoint", endpoint, "--nodes", nodes, "--rdzv-conf", CONF, *words,
        *report_command(directory), before=machine.before,
    )  # fmt: skip


def master_of(found: list[dict[str, dict[str, str]]]) -> tuple[str, int]:
    """MASTER_ADDR and MASTER_PORT, which are the same on all nodes."""
    told = {(each["env"]["MASTER_ADDR"], int(each["env"]["MASTER_PORT"])) for each in found}
    assert len(told) == 1, told
    return told.pop()


def check_and_end(
    directory: Path, running: list[Running], where: list[Machine], nodes: int, after: int = 0
) -> str:
    """Each machine reaches rank 0 as its command was told to; MASTER_ADDR."""
    host, port = master_of(reports_of_round(directory, nodes, after))
    for machine in where:
        machine.connect(host, port)
    stop(directory)
    assert [each.end() for each in running] == [0] * nodes
    return host


@pytest.mark.parametrize("rulebook", ["server", "store"])
@pytest.mark.parametrize("typed", ["localhost", "127.0.0.1", "[::1]"])
def test_a_node_beside_the_server_is_rank_0(
    cli: Cli, tmp_path: Path, pair: list[Machine], typed: str, rulebook: str
) -> None:
    """It reaches the server by loopback, which the others do not: they are told where they have
    reached the server."""
    alpha, beta = pair
    server = cli.start("serve", "--host", "::", "--port", str(PORT), before=alpha.before)
    server.line("listening on")
    # Which sorts after all that the other one may be called.
    words = ("--run-id", "job", "--rdzv-conf", f"rulebook={rulebook}")
    running = [
        start(cli, beta, f"{alpha.address}:{PORT}", "2", tmp_path, *words, "--local-addr", "zeta"),
        start(cli, alpha, f"{typed}:{PORT}", "2", tmp_path, *words),
    ]
    for machine in pair:
        machine.know(f"{beta.address} zeta")
    found = reports_of_round(tmp_path, 2)
    rank_0 = next(each for each in found if each["env"]["RANK"] == "0")
    assert rank_0["parent"] == running[1].process.pid
    assert check_and_end(tmp_path, running, pair, 2) == alpha.address


@pytest.mark.parametrize("rulebook", ["server", "store"])
@pytest.mark.parametrize("typed", ["0.0.0.0", "[::]"])
def test_the_host_names_every_interface(
    cli: Cli, tmp_path: Path, pair: list[Machine], typed: str, rulebook: str
) -> None:
    """It serves on all, and reaches its own store by loopback."""
    alpha, beta = pair
    words = ("--rdzv-conf", f"rulebook={rulebook}")
    running = [
        start(cli, alpha, f"{typed}:{PORT}", "2", tmp_path, *words),
        start(cli, beta, f"{alpha.address}:{PORT}", "2", tmp_path, *words, "--local-addr", "zeta"),
    ]
    for machine in pair:
        machine.know(f"{beta.address} zeta")
    # The commands of both nodes have one key space, and each reaches it from where it is.
    found = {each["parent"]: each["env"] for each in reports_of_round(tmp_path, 2)}
    for machine, node, count in zip(pair, running, (b"1\n", b"2\n"), strict=True):
        url = found[node.process.pid]["RENDEZVOUS_ENDPOINT"]
        command = ("-m", "rendezvous", "add", "count", "--endpoint", url)
        assert machine.run(sys.executable, *command).stdout == count
    assert check_and_end(tmp_path, running, pair, 2) == alpha.address
    assert "give the nodes on other machines this machine's address" in running[0].stderr


def test_the_hosts_own_name_leads_it_to_itself_alone(
    cli: Cli, tmp_path: Path, pair: list[Machine]
) -> None:
    """As Debian's 127.0.1.1 does. The others need not know the name at all."""
    alpha, beta = pair
    alpha.know("127.0.1.1 alpha", f"{beta.address} zeta")
    beta.know(f"{beta.address} zeta")
    running = [
        start(cli, alpha, f"alpha:{PORT}", "2", tmp_path),
        start(cli, beta, f"{alpha.address}:{PORT}", "2", tmp_path, "--local-addr", "zeta"),
    ]
    assert check_and_end(tmp_path, running, pair, 2) == alpha.address


@pytest.mark.parametrize("dialled", ["10.5.0.1", "192.168.77.9", "fd77::1"])
def test_others_are_told_the_very_address_by_which_they_came(
    cli: Cli, tmp_path: Path, pair: list[Machine], dialled: str
) -> None:
    """Of several that the host has, the one that is known to be reached."""
    alpha, beta = pair
    bits, quick = ("64", ["nodad"]) if ":" in dialled else ("32", [])
    alpha.run("ip", "addr", "add", f"{dialled}/{bits}", "dev", "eth0", *quick)
    if quick:
        beta.run("ip", "addr", "add", "fd77::2/64", "dev", "eth0", *quick)
    else:
        beta.run("ip", "route", "replace", f"{dialled}/{bits}", "dev", "eth0")
    for machine in pair:
        machine.know(f"{beta.address} zeta")
    running = [
        start(cli, alpha, f"[::]:{PORT}", "2", tmp_path),
        start(cli, beta, format_endpoint(dialled, PORT), "2", tmp_path, "--local-addr", "zeta"),
    ]
    assert check_and_end(tmp_path, running, pair, 2) == dialled


@pytest.mark.parametrize("rulebook", ["server", "store"])
def test_a_node_that_comes_through_a_tunnel(cli: Cli, tmp_path: Path, rulebook: str) -> None:
    """The server sees the tunnel's end, on its own machine: that is not where the node is."""
    with machines(["alpha", "beta", "gamma"]) as made:
        alpha, beta, gamma = made
        for machine in made:
            machine.know(f"{gamma.address} zeta")
        server = cli.start("serve", "--host", "0.0.0.0", "--port", str(PORT), before=alpha.before)
        server.line("listening on")
        tunnel = PythonProcess(TUNNEL, alpha.namespace, str(PORT), before=beta.before)
        words = ("--run-id", "job", "--rdzv-conf", f"rulebook={rulebook}")
        direct = (f"{alpha.address}:{PORT}", "2", tmp_path, *words, "--local-addr", "zeta")
        with tunnel:
            assert tunnel.line() == "ready"
            running = [
                start(cli, gamma, *direct),
                start(cli, beta, f"localhost:{PORT}", "2", tmp_path, *words),
            ]
            assert check_and_end(tmp_path, running, [beta, gamma], 2) == beta.address


def test_an_address_of_one_machine_alone_is_never_told_without_a_word(
    cli: Cli, tmp_path: Path, pair: list[Machine]
) -> None:
    """Whoever says it is obeyed; both sides are told what that does."""
    alpha, beta = pair
    for machine in pair:
        machine.know(f"{beta.address} zeta")
    running = [
        start(cli, alpha, f"0.0.0.0:{PORT}", "2", tmp_path, "--local-addr", "localhost"),
        start(cli, beta, f"{alpha.address}:{PORT}", "2", tmp_path, "--local-addr", "zeta"),
    ]
    assert master_of(reports_of_round(tmp_path, 2))[0] == "localhost"
    assert alpha.address in running[0].line("set another local_addr")
    assert "localhost" in running[1].line("rank 0 published the address")
    stop(tmp_path)
    assert [each.end() for each in running] == [0, 0]


def test_over_etcd_through_a_proxy_beside_each_node(
    cli: Cli, tmp_path: Path, pair: list[Machine]
) -> None:
    """All nodes see etcd at 127.0.0.1, which says nothing of them: their own names do."""
    found = binaries()
    if not found:
        pytest.skip(NO_ETCD)
    alpha = pair[0]
    data = tmp_path / "data"
    member = (
        found[-1], "--data-dir", str(data), "--listen-client-urls", "http://0.0.0.0:2479",
        "--advertise-client-urls", f"http://{alpha.address}:2479",
        "--listen-peer-urls", "http://127.0.0.1:2380",
    )  # fmt: skip
    reported = tmp_path / "reports"
    reported.mkdir()
    with alpha.program(*member), ExitStack() as stack:
        for machine in pair:
            proxy = PythonProcess(FORWARD, alpha.address, before=machine.before)
            assert stack.enter_context(proxy).line() == "ready"
        running = [
            start(cli, machine, "127.0.0.1:2379", "2", reported, "--backend", "etcd",
                  "--run-id", "job")
            for machine in pair
        ]  # fmt: skip
        assert check_and_end(reported, running, pair, 2) == "alpha"


def test_a_host_that_comes_back_elsewhere(cli: Cli, tmp_path: Path) -> None:
    """Its machine is gone for good, and the endpoint's name leads to another one: there the same
    line hosts an empty store, and those who are left go on with it."""
    with machines(["alpha", "beta", "gamma", "delta"]) as made:
        *first, delta = made
        names = [f"{each.address} {each.name}" for each in made]
        for machine in made:
            machine.know(*names, f"{first[0].address} store")
        words = ("--rdzv-conf", "keep_alive_max_attempt=3,heartbeat_timeout=2")
        running = [
            start(cli, machine, f"store:{PORT}", "2:3", tmp_path, *words) for machine in first
        ]
        reports_of_round(tmp_path, 3)
        first[0].vanish()
        running[0].send(signal.SIGKILL)
        for machine in made:
            machine.know(*names, f"{delta.address} store")
        running[0] = start(cli, delta, f"store:{PORT}", "2:3", tmp_path, *words)
        lost = {"alpha", first[0].address}

        def all_are_there() -> list[dict[str, dict[str, str]]] | None:
            rounds = [int(each["env"]["RENDEZVOUS_ROUND"]) for each in reports(tmp_path)]
            last = [
                each for each in reports(tmp_path)
                if int(each["env"]["RENDEZVOUS_ROUND"]) == max(rounds)
            ]  # fmt: skip
            return last if max(rounds) > 1 and len(last) == 3 else None

        host, port = master_of(wait_for("a round without the old host", all_are_there))
        assert host not in lost
        for machine in made[1:]:
            machine.connect(host, port)
        stop(tmp_path)
        assert [each.end() for each in running] == [0, 0, 0]


PASS_ON = """\
import socket, sys, threading
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for each in (source, sink):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def pass_on(listener, to):
    print("ready", flush=True)
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(to)
        except OSError:
            near.close()
            continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""
FORWARD = f"""\
{PASS_ON}
pass_on(socket.create_server(("127.0.0.1", 2379)), (sys.argv[1], 2479))
"""
# Its one end is here, its other one in the network of another machine, beside the server.
TUNNEL = f"""\
{PASS_ON}
import ctypes, os
port = int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", port))
there = os.open(f"/var/run/netns/{{sys.argv[1]}}", os.O_RDONLY)
assert ctypes.CDLL(None).setns(there, 0) == 0
pass_on(listener, ("127.0.0.1", port))
"""


C10D = """\
import sys, rendezvous
host, port = sys.argv[1], int(sys.argv[2])
try:
    store = rendezvous.TCPStore(host, port, timeout=60, protocol="c10d")
    print(store.add("came", 1))
except rendezvous.StoreConnectionError as error:
    print(error)
"""


@pytest.mark.skipif(not _core.tls_library(), reason="this build has no TLS")
@pytest.mark.parametrize("backend", ["dynamic", "static"])
def test_with_a_token_torchs_workers_meet_and_strangers_are_kept_out(
    cli: Cli, tmp_path: Path, backend: str
) -> None:
    """Torch's protocol carries no proof: the store of a round looks where they come from."""
    with machines(["alpha", "beta", "gamma"]) as made:
        alpha, beta, gamma = made
        token = {"RENDEZVOUS_TOKEN": "0123456789abcdef", "RENDEZVOUS_INSECURE": ""}
        nodes = []
        for rank, machine in enumerate((alpha, beta)):
            words = ["--rdzv-conf", CONF]
            if backend == "static":
                words = ["--backend", "static", "--rdzv-conf", f"rank={rank}"]
            node = cli.start(
                "exec", "--endpoint", f"{alpha.address}:{PORT}", "--nodes", "2", *words,
                *report_command(tmp_path), before=machine.before, **token,
            )  # fmt: skip
            nodes.append(node)
        host, port = master_of(reports_of_round(tmp_path, 2))

        def came(machine: Machine) -> str:
            done = machine.run(sys.executable, "-c", C10D, host, str(port))
            return done.stdout.decode().strip()

        assert [came(beta), came(alpha)] == ["1", "2"]
        assert "closes them without an answer" in came(gamma)
        rank_0 = nodes[0 if host == alpha.address else 1]
        assert gamma.address in rank_0.line("carries no proof")
        stop(tmp_path)
        assert [node.end() for node in nodes] == [0, 0]
