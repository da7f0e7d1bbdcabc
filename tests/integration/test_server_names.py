"""Servers on names with several addresses, some of which cannot be bound.

Each test runs in name spaces of its own, with its own /etc/hosts and, where it says so, without
IPv6: that needs root.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.process import PythonProcess

SERVE = """\
import logging, socket, sys
import rendezvous

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
lines = []
logging.getLogger("rendezvous").addHandler(Lines())
logging.getLogger("rendezvous").setLevel(logging.DEBUG)
try:
    with rendezvous.Server(sys.argv[1], 0) as server:
        for address in sys.argv[2:]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family) as probe:
                print(address, probe.connect_ex((address, server.port)) == 0, flush=True)
except rendezvous.StoreError as error:
    print(type(error).__name__, error, flush=True)
rendezvous._base.log._stop()
print(*lines, sep="|", flush=True)
"""

HOSTS = """\
127.0.0.1 localhost
::1 localhost
10.9.8.7 some.test
127.0.0.5 some.test
::1 some.test
10.9.8.7 foreign.test
10.9.8.6 foreign.test
"""


def unshare(hosts: Path, ipv6: bool) -> list[str]:
    script = f"mount --bind {hosts} /etc/hosts && ip link set lo up"
    if not ipv6:
        script += " && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    return ["unshare", "--mount", "--net", "sh", "-c", f'{script} && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("etc") / "hosts"
    path.write_text(HOSTS)
    if sys.platform != "linux":
        pytest.skip("name spaces are Linux's")
    probe = subprocess.run([*unshare(path, ipv6=False), "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no name spaces here: {probe.stderr.decode().strip()}")
    return path


def serve(hosts: Path, host: str, *addresses: str, ipv6: bool = True) -> tuple[list[str], str]:
    """What was printed, and the log."""
    with PythonProcess(SERVE, host, *addresses, before=unshare(hosts, ipv6)) as process:
        printed = [process.line() for _ in addresses]
        log = process.line()
        return printed, log


def test_of_several_addresses_those_of_this_machine_are_served(hosts: Path) -> None:
    """The log names the one that is not, and why."""
    printed, log = serve(hosts, "some.test", "127.0.0.5", "::1", "127.0.0.1")
    assert printed == ["127.0.0.5 True", "::1 True", "127.0.0.1 False"]
    assert "not listening on 10.9.8.7" in log
    assert "does not belong to this machine" in log


def test_localhost_is_served_where_ipv6_is_off_but_in_the_hosts_file(hosts: Path) -> None:
    """The log says that ::1 is not."""
    printed, log = serve(hosts, "localhost", "127.0.0.1", ipv6=False)
    assert printed == ["127.0.0.1 True"]
    assert "not listening on ::1" in log


def test_an_ipv4_address_in_the_form_of_ipv6_is_that_address(hosts: Path) -> None:
    """With and without IPv6 in the kernel."""
    for ipv6 in (True, False):
        printed, _ = serve(hosts, "::ffff:127.0.0.2", "127.0.0.2", "127.0.0.1", ipv6=ipv6)
        assert printed == ["127.0.0.2 True", "127.0.0.1 False"]


def test_all_interfaces_are_those_of_ipv4_where_ipv6_is_off(hosts: Path) -> None:
    """`::` is every interface, of which there are only those."""
    printed, _ = serve(hosts, "::", "127.0.0.1", ipv6=False)
    assert printed == ["127.0.0.1 True"]


def test_a_name_of_other_machines_is_an_error_with_each_address(hosts: Path) -> None:
    """What was tried and why it failed is said."""
    printed, _ = serve(hosts, "foreign.test", "unused")
    assert "10.9.8.7" in printed[0]
    assert "10.9.8.6" in printed[0]
    assert "name an address of this machine" in printed[0]
