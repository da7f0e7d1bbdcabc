"""Where `rendezvous status` looks: at a server of ours, or at etcd. Reads only, prints nothing."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

from rendezvous._core import TCPStore
from rendezvous._endpoint import format_endpoint, parse_endpoint
from rendezvous.api import RendezvousParameters
from rendezvous.cli._options import DEFAULT_PORT
from rendezvous.cli._run_report import RunReport, look_at_etcd_run, look_at_run
from rendezvous.errors import StoreConnectionError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Place", "Probe", "open_place"]

_PINGS = 5
_ETCD_SCHEMES = ("etcd", "etcds", "http", "https")


@dataclass(frozen=True)
class Probe:
    """That it is there, for people and as the fields of an object."""

    lines: list[str]
    fields: dict[str, Any]


class Place(Protocol):
    """Where runs are kept. Methods raise StoreErrors and RendezvousErrors."""

    @property
    def endpoint(self) -> str:
        """As it is named."""

    def probe(self, deadline_s: float) -> Probe:
        """Whether it is there. deadline_s: of `time.monotonic`."""

    def look_at_run(self, run_id: str, deadline_s: float, limit: int | None) -> RunReport | None:
        """None: it knows no such run."""

    def close(self) -> None:
        """Close its connections."""


def open_place(endpoint: str, backend: str | None, config: Mapping[str, str]) -> Place:
    """What the endpoint names, as text or as a store's URL; nothing is sent yet.

    backend: None: as the scheme says. config: as of an etcd rendezvous. Raises ValueError.
    """
    parts = urlsplit(endpoint) if "://" in endpoint else SplitResult("", endpoint, "", "", "")
    if backend is None:
        backend = "etcd" if parts.scheme in _ETCD_SCHEMES else "c10d"
    if backend != "c10d":
        members = f"{parts.scheme}://{parts.netloc}" if parts.scheme else parts.netloc
        return _EtcdPlace(members, dict(parse_qsl(parts.query)) | dict(config))
    if parts.scheme not in ("", "tcp"):
        raise ValueError(
            f"the endpoint {endpoint!r} names no server; runs are kept by one (HOST[:PORT]), or "
            "over etcd (--backend etcd)"
        )
    if config:
        raise ValueError("--rdzv-conf is for --backend etcd")
    return _ServerPlace(*parse_endpoint(parts.netloc or "127.0.0.1", DEFAULT_PORT))


class _ServerPlace:
    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.endpoint = format_endpoint(host, port)
        self._store: TCPStore | None = None

    def probe(self, deadline_s: float) -> Probe:
        keys = self._connected(deadline_s).num_keys()
        round_trip_s = _median_s(lambda: self._connected(deadline_s).ping())
        return Probe(
            [
                f"server at {self.endpoint}: reachable",
                f"keys: {keys}",
                f"round trip: {round_trip_s * 1000:.3f} ms",
            ],
            {"reachable": True, "keys": keys, "round_trip_s": round_trip_s},
        )

    def look_at_run(self, run_id: str, deadline_s: float, limit: int | None) -> RunReport | None:
        return look_at_run(self._connected(deadline_s), run_id, deadline_s, limit)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _connected(self, deadline_s: float) -> TCPStore:
        left_s = max(0.0, deadline_s - time.monotonic())
        if self._store is None:
            self._store = TCPStore(self._host, self._port, wait_for_workers=False, timeout=left_s)
        self._store.set_timeout(left_s)
        return self._store


class _EtcdPlace:
    def __init__(self, members: str, config: dict[str, str]) -> None:
        # Only who looks at etcd pays for importing its client.
        from rendezvous.backends.etcd._open import open_client

        self._config = config
        self._client = open_client(self._parameters(members))
        self.endpoint = self._client.endpoints
        self._scheme = "https://" if members.startswith(("https:", "etcds:")) else ""

    def probe(self, deadline_s: float) -> Probe:
        names = self.endpoint.split(",")
        lines: list[str] = []
        fields: list[dict[str, Any]] = []
        failure: StoreError | None = None
        for position, name in enumerate(names):
            left_s = max(0.0, deadline_s - time.monotonic())
            try:
                round_trip_s = self._ask_member(name, left_s / (len(names) - position))
            except StoreError as error:
                failure = error
                lines.append(f"  {name}: does not answer: {error}")
                fields.append({"endpoint": name, "reachable": False, "round_trip_s": None})
            else:
                lines.append(f"  {name}: {round_trip_s * 1000:.3f} ms a read")
                fields.append({"endpoint": name, "reachable": True, "round_trip_s": round_trip_s})
        count = sum(field["reachable"] for field in fields)
        if failure is not None and count == 0:
            raise StoreConnectionError(str(failure)) from failure
        first = f"etcd at {self.endpoint}: {count} of {len(names)} members answer"
        return Probe([first, *lines], {"reachable": True, "members": fields})

    def look_at_run(self, run_id: str, deadline_s: float, limit: int | None) -> RunReport | None:
        prefix = self._config.get("key_prefix")
        return look_at_etcd_run(self._client, prefix, run_id, deadline_s, limit)

    def close(self) -> None:
        self._client.close()

    def _ask_member(self, name: str, timeout_s: float) -> float:
        from rendezvous.backends.etcd._deadline import Deadline
        from rendezvous.backends.etcd._open import open_client

        deadline = Deadline(timeout_s)
        client = open_client(self._parameters(self._scheme + name))
        try:
            return _median_s(lambda: client.range(b"status", count_only=True, deadline=deadline))
        finally:
            client.close()

    def _parameters(self, members: str) -> RendezvousParameters:
        return RendezvousParameters("etcd", members, "status", 1, 1, **self._config)


def _median_s(ask: Callable[[], object]) -> float:
    times_s = []
    for _ in range(_PINGS):
        begun_s = time.monotonic()
        ask()
        times_s.append(time.monotonic() - begun_s)
    return statistics.median(times_s)
