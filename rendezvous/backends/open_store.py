"""Stores by URL, for configuration files, environment variables and command lines.

Owns the form of the URLs. _core defines the stores, and the errors of opening one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rendezvous import _core
from rendezvous._base.endpoint import parse_endpoint, refuse_secrets
from rendezvous._base.place import ETCD_URL_OPTIONS
from rendezvous._base.security import TLS_NAMES, Security, TlsFile, Token
from rendezvous._stores.prefix import PrefixStore, owning_view

if TYPE_CHECKING:
    from rendezvous.backends.etcd.store.store import EtcdStore

__all__ = ["SERVER_SCHEMES", "ServerPlace", "open_store", "server_place", "url_options"]

_DEFAULT_PORT = 29400
# Of what TCPStore reaches.
SERVER_SCHEMES = ("tcp", "tcps", "unix")
_EXAMPLES = (
    "tcp://host:29400/prefix?timeout=30, tcps://host:29400, unix:///path/of/socket, "
    "file:///path/of/file?job_id=my-job, etcd://a,b,c/prefix or hash:"
)


def open_store(
    url: str,
    timeout: float | timedelta | None = None,
    *,
    token: Token | None = None,
    tls_cert: TlsFile | None = None,
    tls_key: TlsFile | None = None,
    tls_ca: TlsFile | None = None,
    tls_name: str | None = None,
) -> "AnyStore":
    """The store that a URL names.

    * ``tcp://HOST[:PORT][/PREFIX][?timeout=SECONDS&protocol=native|c10d]``: a client of the server
      there (default port 29400), as ``TCPStore(HOST, PORT, timeout=..., protocol=...)``; ``c10d``
      is for servers of torch's own. With ``tcps:`` over TLS, whatever is found in the
      environment; ``tls_ca``, ``tls_cert``, ``tls_key`` and ``tls_name`` are options, too.
    * ``unix:///PATH[?timeout=SECONDS]``: the same at a Unix socket.
    * ``file:///PATH[?timeout=SECONDS&job_id=ID]``: as ``FileStore(PATH, job_id=ID,
      timeout=...)``.
    * ``hash:``: a new ``HashStore()``.
    * ``etcd://HOST[:PORT][,HOST[:PORT]...]/PREFIX[?timeout=SECONDS]``: an ``EtcdStore`` of that
      prefix (default `/torch/elastic/store`); the default port is 2379. With ``etcds:`` over TLS;
      ``ca_cert``, ``ssl_cert``, ``ssl_cert_key``, ``transport`` (``grpc`` or ``gateway``, see
      docs/etcd.md), ``user`` and ``password_file`` are options. Without these, user and password
      come from the environment, RENDEZVOUS_ETCD_USER and RENDEZVOUS_ETCD_PASSWORD.

    ``prefix=PREFIX`` in any query, and the path of a tcp URL, put a ``PrefixStore`` around it;
    characters that mean something in URLs are escaped as ``%XX``. The timeout bounds opening the
    store, and is the store's default: the argument (seconds or a timedelta), else the URL's, else
    300 s. token, tls_cert, tls_key, tls_ca, tls_name: of a server, as TCPStore has them; a URL
    never holds a token.

    Raises ValueError for any other URL, and the errors of opening the store.
    """
    refuse_secrets(url)
    parts = urlsplit(url)
    opener = _OPENERS.get(parts.scheme)
    if opener is None and parts.scheme not in SERVER_SCHEMES:
        raise ValueError(
            f"{url!r} is not a store's URL: its scheme is {parts.scheme!r}; use {_EXAMPLES}"
        )
    options = url_options(url, timeout)
    prefix = options.pop("prefix", "")
    said = Security(token, tls_cert, tls_key, tls_ca, tls_name)
    if opener is not None:
        if said != Security():
            raise ValueError(f"{url!r}: a token and certificates are for servers: {_EXAMPLES}")
        store, path_prefix = opener(url, parts, options)
    else:
        store, path_prefix = _open_server(url, parts, options, said)
    for each in (path_prefix, prefix):
        if each:
            store = owning_view(each, store)
    return store


def url_options(url: str, timeout: float | timedelta | None) -> dict[str, str]:
    """The options in a URL's query; `timeout`, if given, replaces the URL's."""
    refuse_secrets(url)
    options = _options(url, urlsplit(url))
    if timeout is not None:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        options["timeout"] = str(seconds)
    return options


def _options(url: str, parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ValueError(f"{url!r}: the query is malformed ({error}); see {_EXAMPLES}") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError(f"{url!r}: an option is given twice")
    return options


def _timeout_s(url: str, options: dict[str, str]) -> float | None:
    text = options.pop("timeout", None)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"{url!r}: timeout is {text!r}; it must be a number of seconds")
    return seconds


@dataclass(frozen=True)
class ServerPlace:
    """What the URL of a server says."""

    host: str
    port: int
    timeout_s: float | None
    protocol: Literal["native", "c10d"]
    prefix: str
    security: Security


def server_place(
    url: str, parts: SplitResult, options: dict[str, str], said: Security
) -> ServerPlace:
    """Of a tcp, tcps or unix URL. What is said beside it goes before its own options."""
    if parts.scheme == "unix":
        if parts.netloc or not parts.path:
            raise ValueError(f"{url!r}: a Unix socket has three slashes and an absolute path")
        host, port, prefix = f"unix://{unquote(parts.path)}", 0, ""
    else:
        if not parts.netloc:
            raise ValueError(f"{url!r} has no host; use {_EXAMPLES}")
        host, port = parse_endpoint(parts.netloc, _DEFAULT_PORT)
        prefix = unquote(parts.path).strip("/")
    timeout_s = _timeout_s(url, options)
    protocol = _protocol(url, options)
    in_url: dict[str, Any] = {name: options.pop(name) for name in TLS_NAMES if name in options}
    _refuse_unknown(url, options)
    if said == Security():
        said = Security(**in_url)
    if parts.scheme == "tcps":
        if protocol == "c10d":
            raise ValueError(f"{url!r}: the c10d protocol has no TLS; use tcp")
        said = replace(said, tls=True)
    return ServerPlace(host, port, timeout_s, protocol, prefix, said)


def _open_server(
    url: str, parts: SplitResult, options: dict[str, str], said: Security
) -> "tuple[AnyStore, str]":
    place = server_place(url, parts, options, said)
    store = _core.TCPStore(
        place.host,
        place.port,
        timeout=place.timeout_s,
        wait_for_workers=False,
        protocol=place.protocol,
        **place.security.of_client,
    )
    return store, place.prefix


def _protocol(url: str, options: dict[str, str]) -> Literal["native", "c10d"]:
    name = options.pop("protocol", "native")
    if name == "native":
        return "native"
    if name == "c10d":
        return "c10d"
    raise ValueError(f"{url!r}: protocol is {name!r}; it must be native or c10d")


def _open_file(url: str, parts: SplitResult, options: dict[str, str]) -> "tuple[AnyStore, str]":
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ValueError(f"{url!r}: a file URL has three slashes and an absolute path: {_EXAMPLES}")
    timeout_s = _timeout_s(url, options)
    job_id = options.pop("job_id", "")
    _refuse_unknown(url, options)
    return _core.FileStore(unquote(parts.path), job_id=job_id, timeout=timeout_s), ""


def _open_hash(url: str, parts: SplitResult, options: dict[str, str]) -> "tuple[AnyStore, str]":
    if parts.netloc or parts.path:
        raise ValueError(f"{url!r}: a HashStore is in memory and has no path; use hash:")
    timeout_s = _timeout_s(url, options)
    _refuse_unknown(url, options)
    store = _core.HashStore()
    if timeout_s is not None:
        store.set_timeout(timeout_s)
    return store, ""


def _open_etcd(url: str, parts: SplitResult, options: dict[str, str]) -> "tuple[AnyStore, str]":
    from rendezvous.backends.etcd.open import open_url

    timeout_s = _timeout_s(url, options)
    config = {name: options.pop(name) for name in ETCD_URL_OPTIONS if name in options}
    _refuse_unknown(url, options)
    if "://" in parts.netloc + parts.path:
        raise ValueError(f"{url!r}: write the scheme once, before the first member")
    endpoints = f"{parts.scheme}://{parts.netloc}"
    return open_url(endpoints, unquote(parts.path), timeout_s, config), ""


def _refuse_unknown(url: str, options: dict[str, str]) -> None:
    """Before anything is opened."""
    if options:
        raise ValueError(
            f"{url!r}: unknown option {', '.join(map(repr, options))}; see {_EXAMPLES}"
        )


AnyStore: TypeAlias = "_core.TCPStore | _core.FileStore | _core.HashStore | PrefixStore | EtcdStore"
_Opener: TypeAlias = "Callable[[str, SplitResult, dict[str, str]], tuple[AnyStore, str]]"
_OPENERS: dict[str, _Opener] = {
    "file": _open_file,
    "hash": _open_hash,
    "etcd": _open_etcd,
    "etcds": _open_etcd,
}
