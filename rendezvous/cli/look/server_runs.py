"""The runs at a server of ours, for `rendezvous status` and its like. Reads only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.endpoint import format_endpoint, is_unix
from rendezvous._base.errors import StoreError
from rendezvous._core import RunClient, TCPStore, census, server_limits
from rendezvous.backends.look import (
    host_states,
    list_runs,
    look_at_run,
    similar_runs,
    watcher_of,
)
from rendezvous.cli.look.place import ONLOOKER, Probe, median_s
from rendezvous.cli.options import check_not_refused
from rendezvous.handler.examine import (
    NodeKey,
    Past,
    Timeline,
    find_exclusions,
    find_expected,
    look_at_timeline,
    past_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rendezvous._coordination.run_view import RunView
    from rendezvous.backends.open_store import ServerPlace

__all__ = ["ServerRuns"]

_NOTHING_KNOWN = 2**64 - 1


class ServerRuns:
    """Connects with the first request."""

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
        round_trip_s = median_s(lambda: self._connected(deadline).ping())
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
        known |= past_of(found.events)
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
            "c10d", self.endpoint, run_id, 1, 1, ONLOOKER,
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
