"""Which address a node tells others, where that is not the store's server's to say."""

from __future__ import annotations

import socket

import pytest

from rendezvous._base.hosts import address_over_etcd
from rendezvous.backends.etcd.transport.endpoints import local_address, parse_endpoints


class _Store:
    def __init__(self, observed_address: str) -> None:
        self.observed_address = observed_address


def test_what_the_user_says_comes_first() -> None:
    """Over etcd as elsewhere."""
    assert address_over_etcd(_Store("10.0.0.7"), "node7") == "node7"


def test_the_way_to_a_member_elsewhere_says_who_this_machine_is() -> None:
    """Not the name of a member, which is another machine's."""
    assert address_over_etcd(_Store("10.0.0.7"), None) == "10.0.0.7"


def test_a_proxy_beside_the_node_says_nothing() -> None:
    """With all members on loopback, there is no way to another machine to be looked at."""
    assert not local_address(parse_endpoints("127.0.0.1:2379,localhost:2379")[0])


def test_a_member_elsewhere_is_found_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that is on loopback is no answer for all."""
    real = socket.getaddrinfo

    def resolve(host: str, *args: object, **options: object) -> object:
        return real("192.0.2.1" if host == "elsewhere" else host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = local_address(parse_endpoints("localhost:2379,elsewhere:2379")[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 2379))
        except OSError:
            pytest.skip("this machine has no route to other machines")
        assert found == probe.getsockname()[0]


@pytest.mark.parametrize("name", ["localhost", "no-such-host.invalid"])
def test_a_name_that_leads_nowhere_else_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Every node would advertise itself to itself: the user is asked for an address."""
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    with pytest.raises(ValueError, match="local_addr"):
        address_over_etcd(_Store(""), None)


def test_the_machines_own_name_is_told_if_it_leads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster whose machines know each other by name."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "192.0.2.9")
    assert address_over_etcd(_Store(""), None) == "192.0.2.9"
