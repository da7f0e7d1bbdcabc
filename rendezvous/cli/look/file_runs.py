"""The runs in a file, for `rendezvous status` and its like. Reads only, prints nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import StoreConnectionError
from rendezvous._core import FileStore
from rendezvous.backends.look import list_runs, look_at_stored_run, similar_runs
from rendezvous.cli.look.place import ONLOOKER, Probe, Untold
from rendezvous.handler.examine import find_exclusions, find_expected

if TYPE_CHECKING:
    from rendezvous._coordination.run_view import RunView

__all__ = ["FileRuns"]


class FileRuns(Untold):
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

    def expected(self, run_id: str, deadline: Deadline) -> str:
        store = self._opened(deadline)
        return "" if store is None else find_expected(store, run_id)

    def reopen(self) -> None:
        """It is opened for each look."""

    def excluded(self, run_id: str, deadline: Deadline) -> list[str]:
        store = self._opened(deadline)
        return [] if store is None else find_exclusions(store, run_id)

    def parameters(self, run_id: str, view: RunView) -> RendezvousParameters:
        del view
        return RendezvousParameters(
            "c10d", self._path, run_id, 1, 1, ONLOOKER, store_type="file"
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is kept open."""

    def _opened(self, deadline: Deadline) -> FileStore | None:
        if not Path(self._path).exists():
            return None
        return FileStore(self._path, timeout=deadline.left_s)
