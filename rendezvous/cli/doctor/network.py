"""Whether a name resolves and a port is reached, by nothing but the system's own calls."""

from __future__ import annotations

import errno
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rendezvous._base.deadline import now_s
from rendezvous._base.endpoint import format_endpoint
from rendezvous.cli.doctor.findings import Finding

if TYPE_CHECKING:
    from rendezvous._base.deadline import Deadline

__all__ = ["check_name", "check_ports"]

# Of one attempt. Linux sends the first packet again after 1 s and 3 s.
_CONNECT_S = 3.5
_FEW_HOPS_MS = 20.0


@dataclass(frozen=True)
class _Reached:
    """What came of an attempt to connect."""

    how: str
    took_s: float


def check_name(host: str, deadline: Deadline) -> tuple[list[str], Finding]:
    """All its addresses, and what that means; the name server may take long."""
    found: list[str] = []
    failure: list[str] = []

    def look_up() -> None:
        try:
            for each in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
                found.append(str(each[4][0]))
        except (OSError, UnicodeError) as error:
            failure.append(str(error))

    begun_s = now_s()
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.left_s)
    took_ms = (now_s() - begun_s) * 1000
    addresses = list(dict.fromkeys(found))
    facts = {"host": host, "addresses": addresses, "took_ms": round(took_ms, 3)}
    if failure:
        return [], Finding(
            "name", "unreachable", f"{host!r} has no address: {failure[0]}",
            "check the spelling; see whether `getent hosts` knows the name on this machine, or"
            " use an IP address", facts,
        )  # fmt: skip
    if not addresses:
        return [], Finding(
            "name", "unreachable",
            f"the name server has not answered within {took_ms / 1000:.1f} s for {host!r}",
            "check /etc/resolv.conf, or use an IP address", facts,
        )  # fmt: skip
    text = f"{host} is {', '.join(addresses)}" if addresses != [host] else f"{host} is an address"
    slow = took_ms > 1000
    if slow:
        text += f", which took the name server {took_ms / 1000:.1f} s"
    todo = "check /etc/resolv.conf: all nodes look the name up when they start" if slow else ""
    return addresses, Finding("name", "note" if slow else "ok", text, todo, facts)


def check_ports(addresses: list[str], port: int, deadline: Deadline) -> list[Finding]:
    """Of each address: that a connection is made, refused, or that nothing comes back."""
    found = {address: _connect(address, port, deadline) for address in addresses}
    is_reached = any(reached.how == "reached" for reached in found.values())
    return [
        _port_finding(format_endpoint(address, port), reached, is_reached)
        for address, reached in found.items()
    ]


def _connect(address: str, port: int, deadline: Deadline) -> _Reached:
    begun_s = now_s()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(max(0.05, deadline.sooner(_CONNECT_S).left_s))
            probe.connect((address, port))
            how = "reached"
    except TimeoutError:
        how = "dropped"
    except ConnectionRefusedError:
        how = "refused"
    except OSError as error:
        how = errno.errorcode.get(error.errno or 0, str(error))
        if error.errno == errno.ETIMEDOUT:
            how = "dropped"
    return _Reached(how, now_s() - begun_s)


def _port_finding(where: str, reached: _Reached, is_reached_elsewhere: bool) -> Finding:
    took_ms = reached.took_s * 1000
    facts = {"address": where, "how": reached.how, "took_ms": round(took_ms, 3)}
    if reached.how == "reached":
        return Finding("port", "ok", f"{where} is reached, in {took_ms:.1f} ms", "", facts)
    if reached.how == "refused":
        text = f"{where} refuses the connection: the machine is there, and nothing listens there"
        todo = (
            "start the server, or the node that hosts the store, there; or check the port of the"
            " endpoint"
        )
    elif reached.how == "dropped":
        text = f"{where} does not answer within {reached.took_s:.1f} s: packets are dropped"
        todo = (
            "open the port in the firewall or security group on the way, and check that the"
            " machine is up (ping) and that its route leads back here"
        )
    else:
        text = f"{where} cannot be reached: {reached.how}"
        todo = "check the routes and interfaces of this machine (ip route get ADDRESS)"
    if is_reached_elsewhere:
        # Clients try every address.
        text += "; another address of the name is reached"
        return Finding("port", "note", text, "", facts)
    return Finding("port", "unreachable", text, todo, facts)
