"""Endpoints as text, and whether the host they name is this machine."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from rendezvous import HashStore, Server, StoreAddressInUseError
from rendezvous._base import hosts
from rendezvous._base.endpoint import format_endpoint, parse_endpoint

DEFAULT = 29400
# RFC 5737 and RFC 3849 keep these for documentation: no machine has them.
NOBODYS_IP, NOBODYS_IPV6 = "192.0.2.17", "2001:db8::17"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "localhost", DEFAULT),
        ("  ", "localhost", DEFAULT),
        ("node0", "node0", DEFAULT),
        ("node0:1", "node0", 1),
        ("node0.cluster.example:65535", "node0.cluster.example", 65535),
        ("Node_0-b:0", "Node_0-b", 0),
        ("node0.:29400", "node0.", DEFAULT),
        ("10.0.0.5:29401", "10.0.0.5", 29401),
        ("[::1]", "::1", DEFAULT),
        ("[fd00::5]:29401", "fd00::5", 29401),
        ("[fe80::1%eth0]:29401", "fe80::1%eth0", 29401),
        (" node0:7 ", "node0", 7),
    ],
)
def test_endpoints_are_split_into_host_and_port(text: str, host: str, port: int) -> None:
    """Host and port, or host alone; nothing at all is this machine."""
    assert parse_endpoint(text, DEFAULT) == (host, port)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("node0:65536", "is not between 0 and 65535"),
        ("node0:" + "9" * 10_000, "is not between 0 and 65535"),
        ("node0:-1", "is not a number"),
        ("node0:", "is not a number"),
        ("node0:http", "is not a number"),
        ("node0: 1", "is not a number"),
        ("node0:1_0", "is not a number"),
        ("node0:\u0661", "is not a number"),
        (":29400", "the host is missing"),
        ("::1", "needs brackets"),
        ("fd00::5:29400", "needs brackets"),
        ("[::1", "bracket"),
        ("[::1]29400", "follows the bracket"),
        ("[node0]:29400", "is not an IPv6 address"),
        ("tcp://node0:29400", "scheme"),
        ("node 0:29400", "neither a host name nor an IP address"),
        ("-node0", "neither a host name nor an IP address"),
        ("node..0", "neither a host name nor an IP address"),
        ("n" * 254, "neither a host name nor an IP address"),
    ],
)
def test_a_bad_endpoint_is_refused_with_the_reason_and_an_example(text: str, what: str) -> None:
    """The message says what is wrong, and how it should look."""
    with pytest.raises(ValueError, match=r"for example node0\.cluster:29400") as caught:
        parse_endpoint(text, DEFAULT)
    assert what in str(caught.value)


@pytest.mark.parametrize("endpoint", ["node0:29400", "10.0.0.5:1", "[fd00::5]:29400"])
def test_a_formatted_endpoint_reads_back(endpoint: str) -> None:
    """Brackets around IPv6 addresses come and go."""
    assert format_endpoint(*parse_endpoint(endpoint, DEFAULT)) == endpoint


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.7", "0.0.0.0"])
def test_a_local_address_names_this_machine(host: str) -> None:
    """Every address that can be bound here counts, not only those that the host name has."""
    assert hosts.match_host(host).matched


def test_the_host_name_names_this_machine() -> None:
    """Whether it resolves or not."""
    assert hosts.match_host(socket.gethostname()).matched


@pytest.mark.parametrize("host", [NOBODYS_IP, NOBODYS_IPV6, "name.invalid"])
def test_what_is_not_here_is_not_matched_and_the_reason_names_it(host: str) -> None:
    """The reason ends up in the error that a client without a server raises."""
    match = hosts.match_host(host)
    assert not match.matched
    assert host in match.reason


def test_the_primary_address_of_this_machine_is_matched() -> None:
    """Interfaces other than loopback count as well."""
    address = hosts.own_end_towards("192.0.2.1")
    if not address:
        pytest.skip("this machine has no route")
    assert hosts.match_host(address).matched


def test_hosting_binds_what_was_named_and_nothing_else() -> None:
    """`localhost` does not open a port to the network."""
    assert hosts.plan_hosting("127.0.0.1") == hosts.HostingPlan(("127.0.0.1",), "127.0.0.1")
    assert hosts.plan_hosting("localhost") == hosts.HostingPlan(("localhost",), "localhost")


@pytest.mark.parametrize("address", ["127.0.1.1", NOBODYS_IP])
def test_hosting_under_an_own_name_that_leads_nowhere_binds_everything_and_warns(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Debian gives a machine's own name 127.0.1.1: bound alone, no other node would get in."""

    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "gethostname", lambda: "box7")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    plan = hosts.plan_hosting("box7")
    assert plan.bind == ("::", "0.0.0.0")
    assert plan.connect == ("box7" if address == "127.0.1.1" else "127.0.0.1")
    assert plan.warning is not None
    assert "listens on every interface" in plan.warning
    assert hosts.bootstrap_hosts("box7", None) == ("::", "0.0.0.0")


class _SeenFrom:
    """A store whose server saw us come from an address."""

    def __init__(self, observed_address: str) -> None:
        self.observed_address = observed_address


@pytest.mark.parametrize(
    ("observed", "endpoint_host", "local_addr", "advertised"),
    [
        ("10.1.2.3", "node0", None, "10.1.2.3"),
        ("10.1.2.3", "node0", "me.example", "me.example"),
        ("127.0.0.1", "node0", None, "node0"),
        ("::1", "fd00::5", None, "fd00::5"),
        ("::ffff:127.0.0.1", "10.0.0.5", None, "10.0.0.5"),
        ("127.0.0.1", "localhost", None, "localhost"),
        ("127.0.0.1", "0.0.0.0", None, "127.0.0.1"),
        ("127.0.0.1", None, None, "127.0.0.1"),
    ],
)
def test_a_node_advertises_where_the_server_saw_it(
    observed: str, endpoint_host: str | None, local_addr: str | None, advertised: str
) -> None:
    """What the user says, else the address others can reach, as the server could."""
    store = _SeenFrom(observed)
    assert hosts.advertised_address(store, endpoint_host, local_addr) == advertised


def test_without_a_server_a_node_advertises_a_name_that_resolves_or_an_address() -> None:
    """A name that nobody can look up is worse than an address."""
    address = hosts.advertised_address(HashStore(), None, None)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        assert socket.getaddrinfo(address, 0)


@pytest.mark.parametrize(
    ("address", "local_addr", "bound"),
    [
        ("127.0.0.1", None, ("127.0.0.1",)),
        ("localhost", "localhost", ("localhost",)),
        (NOBODYS_IP, None, ("0.0.0.0",)),
        (NOBODYS_IP, NOBODYS_IP, ("0.0.0.0",)),
        (NOBODYS_IPV6, None, ("::",)),
    ],
)
def test_the_bootstrap_store_listens_where_its_address_leads(
    address: str, local_addr: str | None, bound: tuple[str, ...]
) -> None:
    """Loopback stays on loopback; an address that is not on an interface here needs all of them."""
    assert hosts.bootstrap_hosts(address, local_addr) == bound


def test_serving_goes_on_to_the_next_host_but_not_past_a_port_in_use() -> None:
    """A machine without IPv6 serves on IPv4; a busy port is not hidden by that."""
    with hosts.serve_on((NOBODYS_IP, "127.0.0.1"), 0) as server:
        assert server.host == "127.0.0.1"
        with pytest.raises(StoreAddressInUseError):
            hosts.serve_on(("127.0.0.1", "127.0.0.2"), server.port)
    assert isinstance(server, Server)
