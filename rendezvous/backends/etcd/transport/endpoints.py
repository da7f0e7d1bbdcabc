"""The members of a cluster as text: `a:2379,b:2379`, `etcd://a,b`, `https://[fd00::5]:2379`.

Beside the text: from where this machine would reach them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rendezvous._base.endpoint import format_endpoint, parse_endpoint, refuse_secrets
from rendezvous._base.hosts import own_end_towards

__all__ = ["DEFAULT_PORT", "Endpoint", "local_address", "parse_endpoints"]

DEFAULT_PORT = 2379
# Scheme to whether it means TLS; None: the configuration says so.
_SCHEMES = {"http": False, "https": True, "etcd": None, "etcds": True}


@dataclass(frozen=True)
class Endpoint:
    """Where one member listens for clients."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_endpoint(self.host, self.port)


def parse_endpoints(
    endpoints: str | Iterable[str], default_port: int = DEFAULT_PORT
) -> tuple[list[Endpoint], bool | None]:
    """The members named, and whether their scheme says TLS (None: no scheme says).

    A list, or text with commas; each `host[:port]` or `[v6]:port`; one scheme (http, https, etcd,
    etcds) before the first, or the same before each. Nothing named: this machine. Named twice:
    taken once. Raises ValueError that says what is wrong.
    """
    parts = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
    found: list[Endpoint] = []
    said: set[bool | None] = set()
    for part in parts:
        refuse_secrets(part)
        scheme, address = _split_scheme(part.strip())
        if scheme:
            said.add(_SCHEMES[scheme])
        if not address and len(parts) > 1:
            raise ValueError(f"the endpoints {endpoints!r} contain an empty one between commas")
        endpoint = Endpoint(*parse_endpoint(address, default_port))
        if endpoint.port == 0:
            raise ValueError(f"the endpoint {part!r} has port 0; use the port of etcd")
        if endpoint not in found:
            found.append(endpoint)
    if len(said) > 1:
        raise ValueError(f"the endpoints {endpoints!r} mix schemes; use one for all of them")
    return found, said.pop() if said else None


def _split_scheme(text: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "", text
    if scheme not in _SCHEMES:
        raise ValueError(
            f"the endpoint {text!r} has the scheme {scheme!r}; use one of {', '.join(_SCHEMES)}"
        )
    return scheme, rest.rstrip("/")


def local_address(endpoints: Iterable[Endpoint]) -> str:
    """The IP address from which this machine reaches the first of them that is elsewhere.

    Empty if there is none: what reaches a member on loopback, as a proxy beside each node is, tells
    other machines nothing.
    """
    found = (own_end_towards(endpoint.host, endpoint.port) for endpoint in endpoints)
    return next(filter(None, found), "")
