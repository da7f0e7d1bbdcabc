"""Where `rendezvous status` looks: at a server of ours, or at etcd. Reads only, prints nothing."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.endpoint import format_endpoint, parse_endpoint
from rendezvous._base.errors import StoreConnectionError, StoreError
from rendezvous._base.patience import is_refusal
from rendezvous._base.place import parse_place
from rendezvous._core import FileStore, TCPStore
from rendezvous.backends.look import look_at_run, look_at_stored_run
from rendezvous.cli.options import (
    DEFAULT_PORT,
    ENDPOINT_VARIABLE,
    check_not_refused,
    conf,
    endpoint_from_environment,
)
from rendezvous.handler.observed import find_exclusions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from rendezvous._coordination.run_view import RunView

__all__ = ["Place", "Probe", "add_place", "open_place"]

_PINGS = 5
# The address of who takes no part.
_ONLOOKER = "onlooker"


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

    def probe(self, deadline: Deadline) -> Probe:
        """Whether it is there."""

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        """None: it knows no such run."""

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        """Nodes that do not take part, as their health checks have failed, each with the reason."""

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        """Of a handler of that run, for who joins nothing."""

    def close(self) -> None:
        """Close its connections."""


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options that `open_place` needs."""
    parser.add_argument(
        "--endpoint",
        default=endpoint_from_environment() or "",
        metavar="HOST[:PORT]|URL",
        help="the server; for etcd, its members, with --backend etcd or as etcd://HOST,HOST; for"
        " a run in a file, file:///PATH"
        f" (default: ${ENDPOINT_VARIABLE}, else this machine)",
    )
    parser.add_argument(
        "--backend",
        choices=("c10d", "etcd", "etcd-v3"),
        help="where the run is kept, as for exec (default: etcd if the endpoint is etcd://,"
        " else c10d)",
    )
    parser.add_argument(
        "--rdzv-conf",
        type=conf,
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="settings for etcd, the same as for exec: protocol, ca_cert, ssl_cert,"
        " ssl_cert_key, user, password_file, key_prefix, endpoints, transport",
    )


def open_place(
    endpoint: str, backend: str | None, config: Mapping[str, str], waits: bool | None = True
) -> Place:
    """What the endpoint names, as text or as a store's URL; nothing is sent yet.

    backend: None: as the scheme says. config: as of an etcd rendezvous. waits: whether a
    server that is not there is waited for; None: no, and no option would change that. Raises
    ValueError.
    """
    named = parse_place(endpoint, backend, is_store=True)
    if named.backend != "c10d":
        return _EtcdPlace(named.endpoint, named.settings | dict(config))
    if config:
        raise ValueError("--rdzv-conf is for --backend etcd")
    if named.is_file:
        return _FilePlace(named.endpoint)
    return _ServerPlace(*parse_endpoint(named.endpoint or "127.0.0.1", DEFAULT_PORT), waits)


class _ServerPlace:
    def __init__(self, host: str, port: int, waits: bool | None) -> None:
        self._host, self._port = host, port
        self._waits = waits
        self.endpoint = format_endpoint(host, port)
        self._store: TCPStore | None = None

    def probe(self, deadline: Deadline) -> Probe:
        keys = self._connected(deadline).num_keys()
        round_trip_s = _median_s(lambda: self._connected(deadline).ping())
        return Probe(
            [
                f"server at {self.endpoint}: reachable",
                f"keys: {keys}",
                f"round trip: {round_trip_s * 1000:.3f} ms",
            ],
            {"reachable": True, "keys": keys, "round_trip_s": round_trip_s},
        )

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        return look_at_run(self._connected(deadline), run_id, deadline, limit)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        return find_exclusions(self._connected(deadline), run_id)

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        return RendezvousParameters(
            "c10d", self.endpoint, run_id, 1, 1, _ONLOOKER,
            is_host=False, rulebook=view.kept_by,
        )  # fmt: skip

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _connected(self, deadline: Deadline) -> TCPStore:
        if self._store is None:
            if not self._waits:
                check_not_refused(f"tcp://{self.endpoint}", may_wait=self._waits is not None)
            self._store = TCPStore(
                self._host, self._port, wait_for_workers=False, timeout=deadline.left_s
            )
        self._store.set_timeout(deadline.left_s)
        return self._store


class _FilePlace:
    """Of a file that is there: an onlooker makes none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.endpoint = f"file://{quote(path)}"

    def probe(self, deadline: Deadline) -> Probe:
        store = self._opened(deadline)
        if store is None:
            raise StoreConnectionError(f"there is no file {self._path!r}")
        keys = store.num_keys()
        return Probe(
            [f"file {self._path}: readable", f"keys: {keys}"], {"reachable": True, "keys": keys}
        )

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        store = self._opened(deadline)
        return None if store is None else look_at_stored_run(store, run_id, limit)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        store = self._opened(deadline)
        return [] if store is None else find_exclusions(store, run_id)

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        del view
        return RendezvousParameters(
            "c10d", self._path, run_id, 1, 1, _ONLOOKER, store_type="file"
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is kept open."""

    def _opened(self, deadline: Deadline) -> FileStore | None:
        if not Path(self._path).exists():
            return None
        return FileStore(self._path, timeout=deadline.left_s)


class _EtcdPlace:
    def __init__(self, members: str, config: dict[str, str]) -> None:
        # Only who looks at etcd pays for importing its client.
        from rendezvous.backends.etcd.open import open_client
        from rendezvous.backends.etcd.transport.endpoints import parse_endpoints

        members = config.pop("endpoints", "") or members
        self._config = config
        self._members = members
        self._client = open_client(self._parameters(members))
        self._scheme = "https://" if parse_endpoints(members)[1] else ""
        self.endpoint = self._client.endpoints

    def probe(self, deadline: Deadline) -> Probe:
        names = self.endpoint.split(",")
        found = [self._probe_member(name, deadline) for name in names]
        answered = [each for each in found if each.answered]
        failures = [each.failure for each in found if each.failure is not None]
        if len(failures) == len(found):
            # What one of them said is the error: a refusal rather than silence.
            raise next(filter(is_refusal, failures), failures[0])
        return Probe(
            [
                f"etcd at {self.endpoint}: {len(answered)} of {len(names)} members answer",
                *(each.line() for each in found),
            ],
            {"reachable": True, "members": [each.fields() for each in found]},
        )

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        from rendezvous.backends.etcd import look

        prefix = self._config.get("key_prefix")
        return look.look_at_run(self._client, prefix, run_id, deadline, limit)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        from rendezvous.backends.etcd.open import open_run_store

        store = open_run_store(self._client, self._parameters(self._members), run_id)
        store.set_timeout(deadline.left_s)
        return find_exclusions(store, run_id)

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        rulebook = "store" if view.kept_by == "store" else "auto"
        return RendezvousParameters(
            "etcd", self._members, run_id, 1, 1, _ONLOOKER,
            **(self._config | {"rulebook": rulebook}),
        )  # fmt: skip

    def close(self) -> None:
        self._client.close()

    def _probe_member(self, name: str, deadline: Deadline) -> _Member:
        from rendezvous.backends.etcd.backend import DEFAULT_KEY_PREFIX
        from rendezvous.backends.etcd.open import open_client

        # Where a role for the runs' prefix suffices to read.
        key = f"{self._config.get('key_prefix') or DEFAULT_KEY_PREFIX}/".encode()
        client = open_client(self._parameters(self._scheme + name))
        try:
            return _Member(name, _median_s(lambda: client.ping(key, deadline=deadline)), None)
        except StoreError as error:
            return _Member(name, None, error)
        finally:
            client.close()

    def _parameters(self, members: str) -> RendezvousParameters:
        return RendezvousParameters("etcd", members, "status", 1, 1, **self._config)


@dataclass(frozen=True)
class _Member:
    """One member of etcd, and what came of asking it."""

    name: str
    round_trip_s: float | None
    failure: StoreError | None

    @property
    def answered(self) -> bool:
        """A refusal is an answer, too."""
        return self.failure is None or is_refusal(self.failure)

    def line(self) -> str:
        if self.round_trip_s is None:
            return f"  {self.name}: {self.failure}"
        return f"  {self.name}: {self.round_trip_s * 1000:.3f} ms a read"

    def fields(self) -> dict[str, Any]:
        return {
            "endpoint": self.name,
            "reachable": self.answered,
            "round_trip_s": self.round_trip_s,
        }


def _median_s(ask: Callable[[], object]) -> float:
    times_s = []
    for _ in range(_PINGS):
        begun_s = now_s()
        ask()
        times_s.append(now_s() - begun_s)
    return statistics.median(times_s)
