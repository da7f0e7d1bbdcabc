"""Whether a host name means this machine, what to bind for it, and where others reach us.

Asks the resolver and the kernel: every local address counts on every platform, even one that is on
no interface. Knows nothing about rendezvous. Look-ups may block as long as the machine's resolver
does.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rendezvous import _core
from rendezvous._base.endpoint import is_unix
from rendezvous._base.errors import StoreAddressInUseError, StoreError, StoreRefusedError
from rendezvous._base.security import Security

__all__ = [
    "HostMatch",
    "HostingPlan",
    "address_over_etcd",
    "advertised_address",
    "bootstrap_hosts",
    "hold_port",
    "is_filtered",
    "is_loopback",
    "is_refused",
    "is_served",
    "is_wildcard",
    "match_host",
    "numeric_addresses",
    "observed_address",
    "own_end_towards",
    "plan_hosting",
    "serve_on",
    "serve_workers",
]

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

_WILDCARD_V4, _WILDCARD_V6 = "0.0.0.0", "::"  # noqa: S104  (where it is used is the question)
# A refusal comes at once; whoever says nothing is not refusing.
_PROBE_S = 0.5
# In no network, as it is kept for documentation: the way to it is that to other networks.
_ELSEWHERE = "192.0.2.1"
_WILDCARDS = (_WILDCARD_V6, _WILDCARD_V4)
_LOOPBACK_NAMES = (
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
)


@dataclass(frozen=True)
class HostMatch:
    """Whether a host name means this machine, and why, for logs and errors."""

    matched: bool
    reason: str


@dataclass(frozen=True)
class HostingPlan:
    """What to bind, in order of preference, and where this machine itself then connects."""

    bind: tuple[str, ...]
    connect: str
    warning: str | None = None


def match_host(host: str) -> HostMatch:
    """Whether `host` is this machine, by its own name or by an address that can be bound."""
    if is_unix(host):
        return HostMatch(True, "a Unix socket is this machine's")
    addresses, problem = _resolve(host)
    for address in addresses:
        if _is_local(address):
            return HostMatch(True, f"{address[1][0]} is an address of this machine")
    if _is_own_name(host):
        return HostMatch(True, f"{host!r} is this machine's host name")
    if not addresses:
        return HostMatch(False, f"{host!r} has no address ({problem})")
    tried = ", ".join(sorted({str(address[1][0]) for address in addresses}))
    return HostMatch(False, f"{tried} is not an address of this machine")


def plan_hosting(host: str) -> HostingPlan:
    """Bind the given host; but a machine's own name on loopback only means every interface."""
    if is_unix(host):
        return HostingPlan((host,), host)
    ip = _ip(host)
    if ip is not None and ip.is_unspecified:
        return HostingPlan((host,), "::1" if ip.version == 6 else "127.0.0.1")
    local = [address for address in _resolve(host)[0] if _is_local(address)]
    if not _is_own_name(host) or any(not _is_loopback_ip(address[1][0]) for address in local):
        return HostingPlan((host,), host)
    # As Debian's 127.0.1.1: other machines resolve the name to an address that we cannot tell from
    # here.
    meaning = "loopback addresses" if local else "no address of this machine"
    return HostingPlan(
        _WILDCARDS,
        host if local else "127.0.0.1",
        f"this machine's own name {host!r} resolves to {meaning} here, so the store listens on "
        "every interface; to listen on one interface only, use its IP address as the endpoint's "
        "host",
    )


def serve_on(
    hosts: tuple[str, ...], port: int, of_one_job: bool = False, **security: Any
) -> _core.Server:
    """Start a server on the first of `hosts` that can be bound. Raises StoreError.

    A port in use ends the search, and so does a network on which it must not listen. of_one_job,
    security: as _core.Server has them.
    """
    for host in hosts[:-1]:
        try:
            return _core.Server(host, port, of_one_job=of_one_job, **security)
        except (StoreAddressInUseError, StoreRefusedError):
            raise
        except StoreError:
            # A machine without IPv6 has no "::". What the last one says can be acted on.
            continue
    return _core.Server(hosts[-1], port, of_one_job=of_one_job, **security)


def serve_workers(
    hosts: tuple[str, ...], security: Security, nodes: Callable[[], Iterable[str]]
) -> _core.Server:
    """Start the store that the workers of a round meet in. Raises StoreError.

    Torch's workers use it, whose protocol has no place for a proof: where others have to have one,
    these have to come from the round's nodes, which is a filter.

    Args:
        nodes: their addresses, asked for if they are needed.
    """
    if not is_filtered(hosts, security):
        return serve_on(hosts, 0, **security.of_server)
    return serve_on(hosts, 0, **security.of_server, allow=numeric_addresses(nodes()))


def is_filtered(hosts: tuple[str, ...], security: Security) -> bool:
    """Whether the workers' store there takes certain addresses only."""
    is_closed = all(is_loopback(host) and not is_wildcard(host) for host in hosts)
    return security.exists and not is_closed


def numeric_addresses(nodes: Iterable[str]) -> list[str]:
    """Of nodes, and of this machine: from where their processes may connect."""
    found = set(map(_bare, _core.interface_addresses()))
    for node in nodes:
        found |= {_bare(address[0]) for _, address in _resolve(node)[0]}
    return sorted(found)


def hold_port(hosts: tuple[str, ...]) -> socket.socket | None:
    """Reserve a port of the first of `hosts` that can be bound, without using it.

    A server that listens there with SO_REUSEADDR, as most do, gets it all the same. None: no host
    can be bound.
    """
    for host in hosts:
        for family, address in _resolve(host)[0]:
            held = socket.socket(family, socket.SOCK_STREAM)
            try:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((address[0], 0, *address[2:]))
            except OSError:
                held.close()
            else:
                return held
    return None


def bootstrap_hosts(address: str, local_addr: str | None) -> tuple[str, ...]:
    """What rank 0 binds so that others reach it at the address it advertises."""
    resolved = _resolve(address)[0]
    # A machine's own name may lead others elsewhere than itself.
    if resolved and not _is_own_name(address):
        if all(_is_loopback_ip(each[1][0]) for each in resolved):
            return (address,)
        if local_addr and any(_is_local(each) for each in resolved):
            return (local_addr,)
    ip = _ip(address)
    if ip is None:
        return _WILDCARDS
    return (_WILDCARD_V6 if ip.version == 6 else _WILDCARD_V4,)


def address_over_etcd(store: object, local_addr: str | None) -> str:
    """The same if no node serves the store.

    The address that the user gives; else the local address of the route to a member on another
    machine; else the machine's own name, if it resolves to more than loopback. Raises ValueError if
    there is none.
    """
    observed = observed_address(store)
    if local_addr or observed:
        return local_addr or observed or ""
    name = socket.getfqdn()
    if any(not _is_loopback_ip(address[1][0]) for address in _resolve(name)[0]):
        return name
    raise ValueError(
        "found no address by which other nodes can reach this machine: all etcd members are on "
        f"loopback, and the host name {name!r} resolves only to this machine; set local_addr "
        "(--local-addr)"
    )


def advertised_address(store: object, endpoint_host: str | None, local_addr: str | None) -> str:
    """The address under which other nodes reach this one.

    First, the address that the user gives; then the address from which the store's server sees this
    machine connect: other nodes can reach it if the server can. If that is loopback, the server
    runs here: then it is the endpoint's host, by which nodes on this machine reach each other.
    _node/address.py finds the address for nodes on other machines.
    """
    if local_addr:
        return local_addr
    observed = observed_address(store)
    if observed is not None:
        if not is_loopback(observed):
            return observed
        # Of a loopback endpoint, too: a name that resolves to ::1 is written in URLs as it is.
        if endpoint_host and not is_wildcard(endpoint_host) and not is_unix(endpoint_host):
            return endpoint_host
        return "localhost" if ":" in observed else observed
    name = socket.getfqdn()
    addresses = _resolve(name)[0]
    if any(not _is_loopback_ip(address[1][0]) for address in addresses):
        return name
    return own_end_towards(_ELSEWHERE) or (name if addresses else "127.0.0.1")


def is_wildcard(host: str) -> bool:
    """Whether it means every interface of the machine that serves there."""
    ip = _ip(host)
    return ip is not None and ip.is_unspecified


def is_loopback(host: str) -> bool:
    """Whether it leads every machine to itself: a well-known name, a loopback address or a path."""
    if is_unix(host):
        return True
    name = host.rstrip(".").lower()
    return name in _LOOPBACK_NAMES or name.endswith(".localhost") or _is_loopback_ip(host)


def is_refused(host: str, port: int) -> bool:
    """Whether nothing listens there: every address refuses at once."""
    return _is_served(host, port) is False


def is_served(host: str, port: int) -> bool:
    """Whether a server listens there, as far as can be found out at once."""
    return _is_served(host, port) is True


def _is_served(host: str, port: int) -> bool | None:
    if is_unix(host):
        return _is_unix_served(host)
    refused = None
    for family, address in _resolve(host)[0]:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PROBE_S)
                probe.connect((address[0], port, *address[2:]))
                return True
        except ConnectionRefusedError:
            refused = False
        except OSError:
            continue
    return refused


def _is_unix_served(host: str) -> bool | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(host.removeprefix("unix:").removeprefix("//"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return None
    return True


def own_end_towards(host: str, port: int = 9) -> str:
    """The local address of the route to a host; empty if that is loopback."""
    for family, where in _resolve(host)[0]:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((where[0], port, *where[2:]))  # sends nothing
                found = str(probe.getsockname()[0])
        except OSError:
            continue
        return "" if is_loopback(found) else found
    return ""


def observed_address(store: object) -> str | None:
    """This machine's address as the store's server sees it; None for stores without a server."""
    try:
        observed = getattr(store, "observed_address", None)
    except StoreError:
        return None
    return observed if isinstance(observed, str) and observed else None


def _resolve(host: str) -> tuple[list[_Address], str]:
    """Every stream address of the name; or none, and the reason."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return [], str(error)
    wanted = (socket.AF_INET, socket.AF_INET6)
    return [(family, address) for family, _, _, _, address in found if family in wanted], ""


def _is_local(address: _Address) -> bool:
    family, where = address
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(where)
        if _is_loopback_ip(where[0]):
            return True
        # Machines that take over addresses of others may bind any (ip_nonlocal_bind). An own one,
        # however, is on an interface; or, as of a local route to a whole network, the route to it
        # starts there, which of an interface's secondary address it does not. Connecting a datagram
        # socket sends nothing.
        own = _bare(where[0])
        if own in map(_bare, _core.interface_addresses()):
            return True
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((where[0], 9, *where[2:]))
            return _bare(probe.getsockname()[0]) == own
    except OSError:
        return False


def _bare(text: str) -> str:
    """An IP address without the interface that it is on, and IPv4 as IPv4."""
    ip = _ip(text.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _is_own_name(host: str) -> bool:
    if _ip(host) is not None or is_loopback(host):
        return False
    name = host.rstrip(".").lower()
    own = socket.gethostname().lower()
    if name == own:
        return True
    # The full name may cost a look-up of seconds: only asked where it can match.
    return name.partition(".")[0] == own.partition(".")[0] and name == socket.getfqdn().lower()


def _is_loopback_ip(text: str) -> bool:
    """Whether it is a loopback address, or the wildcard: neither leads another machine here."""
    ip = _ip(text)
    if ip is None:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback or (mapped or ip).is_unspecified


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
