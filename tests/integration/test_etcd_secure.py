"""Runs over TLS, with client certificates, and a user whose role is limited to the run's prefixes.

Handlers and `rendezvous exec`, in processes of their own, of which one is killed.
"""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, Running, report_command, reports_of_round, stop
from support.etcd import PASSWORD, USER
from support.etcd_kinds import Access
from support.process import PythonProcess

from rendezvous import RendezvousConnectionError, RendezvousParameters, get_rendezvous_handler

NODES = 3
# A lost node is noticed after 3 s. Who is taken for lost only because the machine is busy comes
# back in a further round, which these tests bear.
ALIVE = {"keep_alive_interval": "1", "keep_alive_max_attempt": "3", "heartbeat_timeout": "10"}
SECURE = ["etcd-3.5-three-secure", "etcd-3.4-secure"]

NODE = """\
import json, sys, time
from rendezvous import RendezvousParameters, get_rendezvous_handler
endpoint, nodes, settings = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
handler = get_rendezvous_handler(
    RendezvousParameters("etcd", endpoint, "secure", nodes, nodes, "127.0.0.1", **settings)
)
while True:
    info = handler.next_rendezvous()
    info.store.set(f"rank {info.rank}", str(info.round))
    seen = info.store.multi_get([f"rank {rank}" for rank in range(info.world_size)])
    assert seen == [str(info.round).encode()] * nodes, seen
    print(info.round, info.rank, flush=True)
    while handler.num_nodes_waiting() == 0:
        time.sleep(0.02)
"""


@pytest.fixture(params=SECURE)
def access(request: pytest.FixtureRequest, etcd_access: Callable[[str], Access]) -> Access:
    """To a cluster with TLS and users; one of them asks for client certificates, too."""
    return etcd_access(request.param)


@pytest.fixture
def settings(access: Access) -> dict[str, str]:
    """Of a run of its own, in configuration; the role allows its prefixes and no other."""
    return access.settings(uuid.uuid4().hex) | ALIVE


def meet(nodes: list[PythonProcess], after: int = 0) -> int:
    """The first later round that all have come to; each has a rank of its own in it."""
    last = dict.fromkeys(nodes, (0, 0))
    while len({number for number, _ in last.values()}) > 1 or last[nodes[0]][0] <= after:
        slowest = min(nodes, key=lambda node: last[node][0])
        number, rank = map(int, slowest.line().split())
        last[slowest] = (number, rank)
    assert sorted(rank for _, rank in last.values()) == list(range(len(nodes)))
    return last[nodes[0]][0]


def test_handlers_lose_one_and_take_another(access: Access, settings: dict[str, str]) -> None:
    """All that a run does is done by that user; a killed node is replaced in a later round."""
    with ExitStack() as stack:

        def start() -> PythonProcess:
            words = (access.endpoints, str(NODES), json.dumps(settings))
            return stack.enter_context(PythonProcess(NODE, *words, **access.environment))

        nodes = [start() for _ in range(NODES)]
        first = meet(nodes)
        nodes.pop().kill()
        nodes.append(start())
        assert meet(nodes, after=first) > first


@pytest.mark.parametrize("setting", ["key_prefix", "store_prefix"])
def test_a_prefix_beyond_the_role_is_told_at_once(
    access: Access, settings: dict[str, str], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two it is: not at the join timeout, which may be hours."""
    for name, value in access.environment.items():
        monkeypatch.setenv(name, value)
    chosen: dict[str, Any] = settings | {setting: "/elsewhere", "join_timeout": 3600}
    handler = get_rendezvous_handler(
        RendezvousParameters("etcd", access.endpoints, "secure", 1, 1, "127.0.0.1", **chosen)
    )
    with pytest.raises(RendezvousConnectionError, match=r"permission|code 7"):
        handler.next_rendezvous()
    handler.shutdown()


@pytest.mark.parametrize("password_in", ["environment", "file"])
def test_exec_loses_one_node_and_takes_another(
    cli: Cli, tmp_path: Path, access: Access, settings: dict[str, str], password_in: str
) -> None:
    """TLS by settings, the password where no list of processes shows it."""
    words: list[str] = []
    environment = access.environment
    if password_in == "file":
        words, environment = ["--etcd-user", USER], {}
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        settings = settings | {"password_file": str(tmp_path / "password")}

    def start() -> Running:
        configured = settings | {"protocol": "https", "last_call_timeout": "1"}
        return cli.start(
            *("exec", "--endpoint", access.endpoints.replace("https://", "")),
            *("--nodes", str(NODES), "--backend", "etcd", "--local-addr", "127.0.0.1", "-v"),
            *("--run-id", "job"),
            *("--rdzv-conf", ",".join(f"{key}={value}" for key, value in configured.items())),
            *words,
            *report_command(tmp_path),
            **environment,
        )

    running = [start() for _ in range(NODES)]
    first = reports_of_round(tmp_path, NODES)
    victim = running.pop()
    victim.send(signal.SIGKILL)
    running.append(start())
    after = max(int(report["env"]["RENDEZVOUS_ROUND"]) for report in first)
    second = reports_of_round(tmp_path, NODES, after=after)
    parents = {report["parent"] for report in second}
    assert parents == {each.process.pid for each in running}
    stop(tmp_path)
    for each in running:
        assert each.end() == 0, each.stderr
        assert PASSWORD not in each.stderr


def test_exec_without_a_client_certificate_is_told(
    cli: Cli, etcd_access: Callable[[str], Access]
) -> None:
    """By the settings that give one."""
    access = etcd_access(SECURE[0])
    settings = access.settings("nobody") | {"join_timeout": "20", "heartbeat_timeout": "10"}
    del settings["ssl_cert"]
    done = cli.run(
        *("exec", "--endpoint", access.endpoints, "--nodes", "1", "--backend", "etcd"),
        *("--local-addr", "127.0.0.1", "--run-id", "job"),
        *("--rdzv-conf", ",".join(f"{key}={value}" for key, value in settings.items())),
        *("--", "true"),
        RENDEZVOUS_ETCD_USER=USER,
        RENDEZVOUS_ETCD_PASSWORD=PASSWORD,
    )
    assert done.returncode not in (0, 2)
    assert "ssl_cert" in done.stderr.decode()
