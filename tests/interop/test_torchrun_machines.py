"""torchrun over several machines, with a token: who has it meets, and nobody else comes near."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

import pytest
from support.machines import Machine, machines, why_not
from support.torchrun import Job

from rendezvous import _core

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)
_WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)

ENDPOINT = "alpha:29477"
TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
# However slow this machine is, nobody is taken for dead.
CONF = "--rdzv-conf=last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=60"

# torch's first words; prints what the store of a round answers to a PING.
C10D_PING = """\
import socket, struct, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as one:
    try:
        one.sendall(b"\\x00" + struct.pack("<I", 0x3C85F7CE) + b"\\x0d" + struct.pack("<I", 7))
        print(len(one.recv(4)))
    except ConnectionError:
        print(0)
"""


@pytest.fixture
def three() -> Iterator[list[Machine]]:
    with machines(["alpha", "beta", "gamma"]) as made:
        yield made


def reaches(machine: Machine, host: str, port: str) -> bool:
    """Whether torch's protocol is answered there."""
    done = machine.run(sys.executable, "-c", C10D_PING, host, port)
    return done.stdout.strip() == b"4"


def test_agents_with_the_token_meet_and_a_machine_without_it_is_kept_out(
    job: Job, three: list[Machine]
) -> None:
    """From the rendezvous, by its token; from the round's store, which has no place for one, by its
    address."""
    alpha, beta, gamma = three
    words = ("--nnodes=2", "--nproc-per-node=2", CONF)
    agents = [
        job.start(*words, endpoint=ENDPOINT, before=machine.before, RENDEZVOUS_TOKEN=TOKEN)
        for machine in (alpha, beta)
    ]
    found = job.meets(4, agents)
    assert {report["sum"] for report in found} == {4}
    host, port = found[0]["env"]["MASTER_ADDR"], found[0]["env"]["MASTER_PORT"]
    assert host in (alpha.address, beta.address, "alpha", "beta")
    assert [reaches(machine, host, port) for machine in three] == [True, True, False]

    for how, told in ((OTHER, "does not know the token"), ("", "it wants a token")):
        stranger = job.start(*words, endpoint=ENDPOINT, before=gamma.before, RENDEZVOUS_TOKEN=how)
        assert stranger.code() != 0
        assert told in stranger.all_output()
    job.stop()
    assert [agent.code() for agent in agents] == [0, 0]
    assert all(TOKEN not in agent.all_output() for agent in agents)


def test_without_a_token_nobody_serves_for_other_machines(job: Job, three: list[Machine]) -> None:
    """The agent that would host says the two ways on."""
    agent = job.start("--nnodes=2", endpoint=ENDPOINT, before=three[0].before)
    assert agent.code() != 0
    assert "rendezvous token --save" in agent.all_output()
    assert "RENDEZVOUS_INSECURE=1" in agent.all_output()
