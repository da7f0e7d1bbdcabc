"""Endpoints as text: `host`, `host:port`, `[v6]:port`, `unix:///path`. Pure: looks no name
up and opens no socket.

hosts.py knows what a host name means on this machine.
"""

import ipaddress
import re

__all__ = ["format_endpoint", "is_unix", "parse_endpoint", "refuse_secrets"]

_PORT_MAX = 65_535
_EXAMPLE = "write host:port, for example node0.cluster:29400, 10.0.0.5:29400 or [fd00::5]:29400"
# Labels as resolvers take them; the underscore is no RFC 1123 letter, yet container runtimes name
# hosts with it.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_HOST_CHARACTERS_MAX = 253


def refuse_secrets(text: str) -> None:
    """Raises ValueError for an endpoint or a URL with a user or a password in it.

    The message does not show the endpoint: messages end up in logs.
    """
    address, _, query = text.partition("?")
    has_login = "@" in address and not address.startswith("file:")
    if has_login or re.search(r"(^|&)passw\w*=", query, re.IGNORECASE):
        raise ValueError(
            "an endpoint or store URL must not contain a user or a password, because everybody "
            "could see them; for etcd, use password_file, or set RENDEZVOUS_ETCD_USER and "
            "RENDEZVOUS_ETCD_PASSWORD"
        )


def parse_endpoint(endpoint: str, default_port: int) -> tuple[str, int]:
    """Split an endpoint into host (without brackets) and port.

    A Unix socket is a host with port 0. An empty endpoint means `localhost` and the
    default port; port 0 is accepted, and means "any free port" to a server. Raises ValueError,
    which says what is wrong and shows an example.
    """
    text = endpoint.strip()
    refuse_secrets(text)
    if not text:
        return "localhost", default_port
    if is_unix(text):
        return text, 0
    if "://" in text:
        raise _bad(endpoint, "it has a scheme")
    if text.startswith("["):
        return _parse_bracketed(endpoint, text, default_port)
    if text.count(":") > 1:
        raise _bad(endpoint, "an IPv6 address needs brackets")
    host, colon, port = text.partition(":")
    if not host:
        raise _bad(endpoint, "the host is missing")
    if len(host) > _HOST_CHARACTERS_MAX or not _HOST.fullmatch(host):
        raise _bad(endpoint, f"{host!r} is neither a host name nor an IP address")
    return host, _parse_port(endpoint, port) if colon else default_port


def format_endpoint(host: str, port: int) -> str:
    """The text that `parse_endpoint` accepts, with brackets around an IPv6 address."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_unix(host: str) -> bool:
    """Whether it is a Unix socket, of this machine: `unix:///path`."""
    return host.startswith("unix:")


def _parse_bracketed(endpoint: str, text: str, default_port: int) -> tuple[str, int]:
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise _bad(endpoint, "the closing bracket is missing")
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise _bad(endpoint, f"{host!r} is not an IPv6 address") from None
    if not rest:
        return host, default_port
    if not rest.startswith(":"):
        raise _bad(endpoint, f"{rest!r} follows the bracket where :port was expected")
    return host, _parse_port(endpoint, rest[1:])


def _parse_port(endpoint: str, text: str) -> int:
    # int() would also take signs, blanks, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit()):
        raise _bad(endpoint, f"the port {text!r} is not a number")
    # Compared by length first: a port of thousands of digits must not cost a conversion.
    if len(text.lstrip("0")) > len(str(_PORT_MAX)) or int(text) > _PORT_MAX:
        raise _bad(endpoint, f"the port {text[:20]} is not between 0 and {_PORT_MAX}")
    return int(text)


def _bad(endpoint: str, reason: str) -> ValueError:
    return ValueError(f"the endpoint {endpoint!r} is not valid: {reason}; {_EXAMPLE}")
