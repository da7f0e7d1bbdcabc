"""Which addresses are this machine's own, by its interfaces and not by what can be bound."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from support.process import PythonProcess

pytestmark = pytest.mark.skipif(
    not (shutil.which("ip") and shutil.which("unshare"))
    or subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode != 0,
    reason="this needs a network name space of its own",
)

MACHINE = """\
import subprocess, sys
from rendezvous._base.hosts import match_host
def ip(*words):
    subprocess.run(["ip", *words], check=True)
ip("link", "set", "lo", "up")
ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
for name in ("eth0", "far"):
    ip("link", "set", name, "up")
for address in sys.argv[2].split(","):
    ip("addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
for family in ("ipv4", "ipv6"):
    with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w") as out:
        out.write(sys.argv[1])
if sys.argv[3]:
    ip("route", "add", "local", sys.argv[3], "dev", "lo")
for host in sys.argv[4].split(","):
    print(match_host(host).matched, flush=True)
"""


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"])
@pytest.mark.parametrize(
    ("addresses", "local_route", "asked", "answers"),
    [
        ("10.9.0.1/24", "", "10.9.0.1", [True]),
        (
            "10.9.0.1/24,10.9.0.2/24,10.9.0.3/32",
            "",
            "10.9.0.2,10.9.0.3,10.9.0.4",
            [True] * 2 + [False],
        ),
        ("fd09::1/64,fd09::2/64", "", "fd09::1,fd09::2,fd09::3", [True, True, False]),
        ("10.9.0.1/24", "10.8.0.0/16", "10.8.3.4,10.7.3.4", [True, False]),
    ],
    ids=["primary", "secondary", "IPv6", "a whole network"],
)
def test_an_address_of_this_machine(
    nonlocal_bind: str, addresses: str, local_route: str, asked: str, answers: list[bool]
) -> None:
    """Also a secondary one, and also where any address can be bound, as on machines that take over
    those of others: then one that can be bound need not be here."""
    words = (nonlocal_bind, addresses, local_route, asked)
    with PythonProcess(MACHINE, *words, before=("unshare", "-rn")) as process:
        found = [process.line() == "True" for _ in answers]
        assert found == answers
        assert process.end() == 0, process.stderr
