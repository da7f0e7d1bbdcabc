"""Where `rendezvous status` looks: at a server of ours, or at etcd. Reads only, prints nothing."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.endpoint import format_endpoint, is_unix, refuse_secrets
from rendezvous._base.errors import StoreConnectionError, StoreError
from rendezvous._base.patience import is_refusal
from rendezvous._base.place import parse_place
from rendezvous._base.security import SECURITY_SETTINGS, Security
from rendezvous._core import FileStore, RunClient, TCPStore, census, server_limits
from rendezvous.backends.look import (
    host_states,
    list_runs,
    look_at_run,
    look_at_stored_run,
    similar_runs,
    watcher_of,
)
from rendezvous.backends.open_store import (
    SERVER_SCHEMES,
    ServerPlace,
    server_place,
    url_options,
)
from rendezvous.cli.options import (
    ENDPOINT_VARIABLE,
    add_credentials,
    check_not_refused,
    conf,
    endpoint_from_environment,
)
from rendezvous.handler.examine import (
    NodeKey,
    Past,
    Timeline,
    find_exclusions,
    find_expected,
    look_at_timeline,
)
from rendezvous.handler.examine import Place as PlaceOfRuns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from rendezvous._coordination.run_view import RunView
    from rendezvous.backends.etcd.store.store import EtcdStore

__all__ = ["Place", "Probe", "ServerRuns", "add_place", "open_place"]

_PINGS = 5
_NOTHING_KNOWN = 2**64 - 1
# Events that say where a node stands.
_OF_NODES = ("joined", "waiting", "spare", "resumed", "left", "lost", "failed", "gave_up")
# The address of who takes no part.
_ONLOOKER = "onlooker"


@dataclass(frozen=True)
class Probe:
    """That it is there, for people and as the fields of an object."""

    lines: list[str]
    fields: dict[str, Any]


class Place(PlaceOfRuns, Protocol):
    """Where runs are kept. Methods raise StoreErrors and RendezvousErrors."""

    def probe(self, deadline: Deadline) -> Probe:
        """Whether it is there."""

    def runs(self, deadline: Deadline) -> list[str]:
        """The names of all runs, in natural order."""

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        """As look_at_timeline. None: it has no record of that run."""

    def mark(self, run_id: str, deadline: Deadline) -> int:
        """For `wait_for_change`: what is there now."""

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        """Wait until something is not as it was at `mark`, or may not be."""

    def reopen(self) -> None:
        """Connect again with the next request."""

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
        help="settings as for exec, such as tls_ca or token_file; for etcd: protocol, ca_cert,"
        " ssl_cert, ssl_cert_key, user, password_file, key_prefix, endpoints, transport",
    )
    add_credentials(parser)


def open_place(
    endpoint: str, backend: str | None, config: Mapping[str, str], waits: bool | None = True
) -> Place:
    """What the endpoint names, as text or as a store's URL; nothing is sent yet.

    backend: None: as the scheme says. config: as of an etcd rendezvous. waits: whether a
    server that is not there is waited for; None: no, and no option would change that. Raises
    ValueError.
    """
    scheme, separator, _ = endpoint.partition("://")
    is_server = backend in (None, "c10d") and (not separator or scheme in SERVER_SCHEMES)
    if not is_server:
        named = parse_place(endpoint, backend, is_store=True)
        if named.backend != "c10d":
            return _EtcdPlace(named.endpoint, named.settings | dict(config))
        if config:
            raise ValueError(f"--rdzv-conf {', '.join(sorted(config))}: for --backend etcd only")
        return _FilePlace(named.endpoint)
    refuse_secrets(endpoint)
    foreign = config.keys() - set(SECURITY_SETTINGS)
    if foreign:
        raise ValueError(f"--rdzv-conf {', '.join(sorted(foreign))}: for --backend etcd only")
    url = endpoint if separator else f"tcp://{endpoint or '127.0.0.1'}"
    security = Security.of(RendezvousParameters("c10d", "", "status", 1, 1, **config))
    options = url_options(url, None)
    options.pop("prefix", None)
    return ServerRuns(server_place(url, urlsplit(url), options, security), waits)


class ServerRuns:
    def __init__(self, place: ServerPlace, waits: bool | None) -> None:
        self._place = place
        self._waits = waits
        self.endpoint = format_endpoint(place.host, place.port)
        self._store: TCPStore | None = None
        self._watcher: RunClient | None = None
        # The next event, and what happened to each node last; of one run.
        self._history: tuple[int, dict[NodeKey, Past]] = (0, {})

    def probe(self, deadline: Deadline) -> Probe:
        keys = self._connected(deadline).num_keys()
        round_trip_s = _median_s(lambda: self._connected(deadline).ping())
        # Of all name spaces, for the token of an admin; otherwise of its own.
        spaces, limits = census(self._connected(deadline), True, deadline.left_s)
        return Probe(
            [
                f"server at {self.endpoint}: reachable",
                f"keys: {keys}",
                f"round trip: {round_trip_s * 1000:.3f} ms",
                *_space_lines(spaces),
                *_limit_lines(limits),
            ],
            {
                "reachable": True,
                "keys": keys,
                "round_trip_s": round_trip_s,
                "spaces": spaces,
                "limits": limits,
            },
        )

    def look_at_run(self, run_id: str, deadline: Deadline, limit: int | None) -> RunView | None:
        return look_at_run(self._connected(deadline), run_id, deadline, limit)

    def runs(self, deadline: Deadline) -> list[str]:
        return list_runs(self._connected(deadline))

    def similar_runs(self, run_id: str, deadline: Deadline) -> list[str]:
        return similar_runs(run_id, self.runs(deadline))

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        if self._watcher is None:
            self._watcher = watcher_of(self._connected(deadline), run_id or "-")
        return look_at_timeline(self._watcher, run_id, first, deadline)

    def expected(self, run_id: str, deadline: Deadline) -> str:
        return find_expected(self._connected(deadline), run_id)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        return find_exclusions(self._connected(deadline), run_id)

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        first, known = self._history
        try:
            found = self.timeline(run_id, first, deadline)
        except StoreError:  # a server that keeps none
            return {}
        if found is None:
            return {}
        if found.next < first:  # another server than before
            known.clear()
        for event in found.events:
            node = event.node
            if node is not None and event.kind in _OF_NODES:
                key = (node.addr, node.pid, node.local_id)
                known[key] = Past(event.kind, event.time_s, event.text)
        self._history = (found.next, known)
        return known

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Of a Unix socket, its URL and 0."""
        return self._place.host, self._place.port

    @property
    def is_secured(self) -> bool:
        """Whether a token or a certificate was said or found. Raises StoreError, ValueError."""
        return self._place.security.exists

    def connected(self, deadline: Deadline) -> TCPStore:
        """A client, for who has more to ask; it is closed with this place. Raises StoreError."""
        return self._connected(deadline)

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return host_states(self._connected(deadline), addresses, deadline)

    def mark(self, run_id: str, deadline: Deadline) -> int:
        if self._watcher is None:
            self._watcher = watcher_of(self._connected(deadline), run_id)
        return self._watcher.follow(_NOTHING_KNOWN, deadline.left_s)[0]

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        if mark == 0 or self._watcher is None:  # the server does not keep it
            time.sleep(within_s)
        else:
            self._watcher.follow(mark, within_s)

    def reopen(self) -> None:
        self.close()
        self._store = None

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        return RendezvousParameters(
            "c10d", self.endpoint, run_id, 1, 1, _ONLOOKER,
            is_host=False, rulebook=view.kept_by, **vars(self._place.security),
        )  # fmt: skip

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._store is not None:
            self._store.close()

    @property
    def _url(self) -> str:
        return self.endpoint if is_unix(self.endpoint) else f"tcp://{self.endpoint}"

    def _connected(self, deadline: Deadline) -> TCPStore:
        if self._store is None:
            if not self._waits:
                check_not_refused(self._url, may_wait=self._waits is not None)
            self._store = TCPStore(
                self._place.host,
                self._place.port,
                wait_for_workers=False,
                timeout=deadline.left_s,
                **self._place.security.of_client,
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

    def runs(self, deadline: Deadline) -> list[str]:
        store = self._opened(deadline)
        return [] if store is None else list_runs(store)

    def similar_runs(self, run_id: str, deadline: Deadline) -> list[str]:
        return similar_runs(run_id, self.runs(deadline))

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        return None

    def expected(self, run_id: str, deadline: Deadline) -> str:
        store = self._opened(deadline)
        return "" if store is None else find_expected(store, run_id)

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        return {}

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return {}

    def mark(self, run_id: str, deadline: Deadline) -> int:
        return 0

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        time.sleep(within_s)

    def reopen(self) -> None:
        """It is opened for each look."""

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

    def runs(self, deadline: Deadline) -> list[str]:
        from rendezvous.backends.etcd import look

        return look.list_runs(self._client, self._config.get("key_prefix"), deadline)

    def similar_runs(self, run_id: str, deadline: Deadline) -> list[str]:
        return similar_runs(run_id, self.runs(deadline))

    def timeline(self, run_id: str, first: int, deadline: Deadline) -> Timeline | None:
        return None

    def expected(self, run_id: str, deadline: Deadline) -> str:
        return find_expected(self._run_store(run_id, deadline), run_id)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        store = self._run_store(run_id, deadline)
        return find_exclusions(store, run_id)

    def history(self, run_id: str, deadline: Deadline) -> Mapping[NodeKey, Past]:
        return {}

    def host_states(self, addresses: Sequence[str], deadline: Deadline) -> dict[str, str]:
        return {}

    def mark(self, run_id: str, deadline: Deadline) -> int:
        return 0

    def wait_for_change(self, run_id: str, mark: int, within_s: float) -> None:
        time.sleep(within_s)

    def reopen(self) -> None:
        """Its client finds another member by itself."""

    def _run_store(self, run_id: str, deadline: Deadline) -> EtcdStore:
        from rendezvous.backends.etcd.open import open_run_store

        store = open_run_store(self._client, self._parameters(self._members), run_id)
        store.set_timeout(deadline.left_s)
        return store

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


def _space_lines(spaces: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each name space."""
    return [
        f"name space {name}: "
        + ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
        for name, counts in spaces.items()
    ]


def _limit_lines(limits: Mapping[str, int]) -> list[str]:
    """Those that differ from the defaults, in one line."""
    defaults = server_limits()
    changed = [f"{name}={value}" for name, value in limits.items() if defaults.get(name) != value]
    return [f"limits: {' '.join(changed) or 'the defaults'}"]


def _median_s(ask: Callable[[], object]) -> float:
    times_s = []
    for _ in range(_PINGS):
        begun_s = now_s()
        ask()
        times_s.append(now_s() - begun_s)
    return statistics.median(times_s)
