"""Opens what the configuration of an etcd rendezvous names: the client, the store, the backend.

Owns the names of its keys. Nothing is sent before the first operation: a node may start before the
cluster does.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.place import ETCD_URL_OPTIONS
from rendezvous._base.settings import read_seconds
from rendezvous.backends.etcd.backend import EtcdRendezvousBackend
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.store.store import EtcdStore
from rendezvous.backends.etcd.transport import TlsFiles
from rendezvous.backends.etcd.transport.endpoints import parse_endpoints

__all__ = [
    "DEFAULT_STORE_PREFIX",
    "EtcdConnection",
    "create_backend",
    "open_backend",
    "open_client",
    "open_run_store",
    "open_url",
]

DEFAULT_STORE_PREFIX = "/torch/elastic/store"
_READ_TIMEOUT_S = 60.0
_USER, _PASSWORD = "RENDEZVOUS_ETCD_USER", "RENDEZVOUS_ETCD_PASSWORD"


@dataclass(frozen=True)
class EtcdConnection:
    """The objects opened for one handler, closed with it. The cluster stays.

    Attributes:
        store: for the nodes' own keys.
        control: for the rendezvous, whose timeouts must not affect users of `store`.
        endpoint: all members, with commas.
        address: the URL of `store`; empty if a URL cannot express its prefix.
        host: of the first member.
        server: None, as no process of the job serves etcd.
    """

    store: EtcdStore
    control: EtcdStore
    endpoint: str
    address: str
    host: str
    server: None = None
    opening_s: float = 0.0

    def is_gone(self) -> bool:
        """A cluster is there for longer than any of its users."""
        return False

    def release(self, deadline: Deadline) -> None:
        """The handler has left: what etcd keeps for its writes may go."""
        self.store.release(deadline)

    def close(self) -> None:
        """Close this thread's connections. May be called again."""
        self.control.close()
        self.store.close()


def open_client(params: RendezvousParameters) -> EtcdClient:
    """A client of the cluster that `params` name.

    The endpoint is one member, or several with commas. Configuration:
        endpoints: instead of the endpoint, for launchers whose endpoint holds one member only.
        read_timeout: seconds that one operation may take; default 60.
        transport: `grpc`, the default where h2 is installed (`rendezvous-store[etcd]`), or
            `gateway`, the default elsewhere, which gets through where only HTTP/1.1 does.
        protocol: `http` or `https`; default: as the endpoints' scheme says, else http, unless there
            are certificates.
        ca_cert: PEM file of the CA that signs the members' certificates; default: the CAs that the
        machine trusts.
        ssl_cert, ssl_cert_key: PEM files of this client's certificate and its key.
        user, password_file: of etcd's own authentication; default: the environment variables
            RENDEZVOUS_ETCD_USER and RENDEZVOUS_ETCD_PASSWORD. A password in the configuration
            itself would be seen in every list of processes.

    Raises ValueError for bad parameters.
    """
    timeout_s = read_seconds(params, "read_timeout", _READ_TIMEOUT_S)
    return _open(_endpoints(params), params.config, timeout_s)


def open_backend(params: RendezvousParameters) -> tuple[EtcdRendezvousBackend, EtcdConnection]:
    """The run's backend, and the store beside it. Raises as `open_client`.

    Configuration, beside that of `open_client`:
        key_prefix: of the states; default `/torch/elastic/rendezvous`.
        store_prefix: of the store's keys, each run below it; default `/torch/elastic/store`.
        ttl: seconds without a write after which a state is deleted; default 7,200.
    """
    if not params.run_id:
        raise ValueError("the run id is empty; give every node of the job the same run id")
    client = open_client(params)
    backend = EtcdRendezvousBackend(
        client,
        params.run_id,
        _text(params.config, "key_prefix"),
        read_seconds(params, "ttl", 7200.0),
        name=params.backend,
    )
    store = open_run_store(client, params, params.run_id)
    members, secure = parse_endpoints(_endpoints(params))
    scheme = "etcds" if _tls(params.config, secure) else "etcd"
    address = _url(f"{scheme}://{client.endpoints}", store.prefix, params.config)
    return backend, EtcdConnection(store, store.clone(), client.endpoints, address, members[0].host)


def open_run_store(client: EtcdClient, params: RendezvousParameters, run_id: str) -> EtcdStore:
    """A store of each run: what one left behind is not taken for the next one's."""
    prefix = (_text(params.config, "store_prefix") or DEFAULT_STORE_PREFIX).rstrip("/")
    # Escaped, so that none is within another one.
    return EtcdStore(client, f"{prefix}/{quote(run_id, safe='')}", client.timeout_s)


def create_backend(params: RendezvousParameters) -> tuple[EtcdRendezvousBackend, EtcdStore]:
    """Like `open_backend`, for callers that want only the store."""
    backend, connection = open_backend(params)
    return backend, connection.store


def open_url(
    endpoints: str,
    prefix: str,
    timeout_s: float | None,
    config: Mapping[str, str],
) -> EtcdStore:
    """The store that a URL names; see `rendezvous.open_store`."""
    client = _open(endpoints, config, _READ_TIMEOUT_S)
    return EtcdStore(client, prefix if prefix.strip("/") else DEFAULT_STORE_PREFIX, timeout_s)


def _open(endpoints: str, config: Mapping[str, Any], timeout_s: float) -> EtcdClient:
    _, secure = parse_endpoints(endpoints)
    user, password = _user(config)
    return EtcdClient(
        endpoints,
        user=user,
        password=password,
        tls=_tls(config, secure),
        timeout=timeout_s,
        transport=_text(config, "transport") or None,
    )


def _endpoints(params: RendezvousParameters) -> str:
    return str(params.get("endpoints") or params.endpoint)


def _url(endpoints: str, prefix: str, config: Mapping[str, Any]) -> str:
    """What `open_url` makes the same store of."""
    if not prefix.startswith("/"):
        return ""
    said = {name: text for name in ETCD_URL_OPTIONS if (text := _text(config, name))}
    return endpoints + quote(prefix) + ("?" + urlencode(said) if said else "")


def _tls(config: Mapping[str, Any], secure: bool | None) -> TlsFiles | None:
    files = TlsFiles(
        _text(config, "ca_cert"), _text(config, "ssl_cert"), _text(config, "ssl_cert_key")
    )
    protocol = config.get("protocol")
    if protocol is not None:
        said = {"http": False, "https": True}.get(str(protocol).strip().lower())
        if said is None:
            raise ValueError(f"protocol is {protocol!r}; use 'http' or 'https'")
        if secure not in (None, said):
            raise ValueError(f"protocol is {protocol!r}, but the endpoints use another scheme")
        secure = said
    if secure is None:
        secure = files != TlsFiles()
    if not secure and files != TlsFiles():
        raise ValueError("certificates are given, but the protocol is http; use https")
    return files if secure else None


def _user(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    path = _text(config, "password_file")
    user = _text(config, "user") or os.environ.get(_USER)
    if path is None:
        return user, os.environ.get(_PASSWORD)
    try:
        return user, Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"password_file {path!r} cannot be read: {error}") from error


def _text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    return None if value is None or value == "" else str(value)
