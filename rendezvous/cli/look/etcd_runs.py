"""The runs over etcd, for `rendezvous status` and its like. Reads only, prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreError
from rendezvous._base.patience import is_refusal
from rendezvous.backends.look import similar_runs
from rendezvous.cli.look.place import ONLOOKER, Probe, Untold, median_s
from rendezvous.handler.examine import find_exclusions, find_expected

if TYPE_CHECKING:
    from rendezvous._coordination.run_view import RunView
    from rendezvous.backends.etcd.store.store import EtcdStore

__all__ = ["EtcdRuns"]


class EtcdRuns(Untold):
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

    def expected(self, run_id: str, deadline: Deadline) -> str:
        return find_expected(self._run_store(run_id, deadline), run_id)

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        store = self._run_store(run_id, deadline)
        return find_exclusions(store, run_id)

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
            "etcd", self._members, run_id, 1, 1, ONLOOKER,
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
            return _Member(name, median_s(lambda: client.ping(key, deadline=deadline)), None)
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
