"""A launcher as a user writes it: it type-checks strictly, by mypy and by pyright.

`nox -s typing` runs both over it, against the installed package. What must not pass is marked: a
mark that is not needed is an error, too.
"""

from __future__ import annotations

from datetime import timedelta

import rendezvous
from rendezvous import RendezvousHandler, RendezvousInfo, RendezvousParameters, Store
from rendezvous.errors import StoreKeysMissingError


def launch(endpoint: str) -> int:
    """A handler in a with statement, and what is in the information of its round."""
    parameters = RendezvousParameters("c10d", endpoint, "job", 1, 4, join_timeout=30)
    with rendezvous.get_rendezvous_handler(parameters) as handler:
        info = handler.next_rendezvous()
        port: int = info.bootstrap_store_info.master_port
        return port + len(exchange_names(info))


def work(endpoint: str) -> list[rendezvous.Event]:
    """The whole of a launcher of one's own."""
    events: list[rendezvous.Event] = []
    with rendezvous.join(
        endpoint, (1, 4), "job", health_check=lambda: None, on_event=events.append, join_timeout=30
    ) as world:
        place: tuple[int, int, str, int] = (
            world.rank,
            world.size,
            world.master_addr,
            world.master_port,
        )
        world.store.set("place", str(place))
        if world.changed.wait(timedelta(seconds=0)):
            again: rendezvous.World = world.next_round()
            again.give_up(1, "no more")
    rendezvous.join(endpoint, nodes="2")  # type: ignore[arg-type]
    return events


def exchange_names(info: RendezvousInfo) -> list[str]:
    """The store of a round takes bytes, and has what torch's stores have not."""
    info.store.set(f"ready/{info.rank}", b"\xff")
    info.store.set("text", "text", ttl=timedelta(seconds=5))
    values = info.store.exchange("names", info.rank, info.world_size, b"name", timeout=5.0)
    value, swapped = info.store.compare_exchange("leader", b"", b"me")
    kept: bytes | None = info.store.try_get("text")
    if not swapped:
        return [value.decode(), str(kept)]
    return [value.decode() for value in values]


def misuse(info: RendezvousInfo) -> None:
    """What is no use of a store is an error to a type checker."""
    info.store.set(1, "value")  # type: ignore[arg-type]
    info.store.get("key", timeout="soon")  # type: ignore[arg-type]
    rendezvous.TCPStore("host")  # type: ignore[call-arg]


def stores(path: str) -> list[bytes]:
    """Each kind of store is a Store."""
    every: list[Store] = [
        rendezvous.HashStore(),
        rendezvous.FileStore(path),
        rendezvous.open_store("hash:", timeout=1.0),
        rendezvous.PrefixStore("outer", rendezvous.HashStore()),
        LikeTorch(),
    ]
    found: list[bytes] = []
    for store in every:
        with store as opened:
            opened.set("key", "value")
            found += opened.multi_get(["key"])
    return found


class LikeTorch(Store):
    """A store of the user's own with the arguments that torch's have."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, bytes] = {}

    def set(self, key: str, value: str) -> None:
        self._values[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self._values[key]

    def add(self, key: str, value: int) -> int:
        total = int(self._values.get(key, b"0")) + value
        self._values[key] = str(total).encode()
        return total

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        if self._values.get(key, b"") == expected_value.encode():
            self.set(key, desired_value)
        return self._values.get(key, b"")

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def wait(self, keys: list[str], timeout: timedelta = timedelta(seconds=1)) -> None:
        if not self.check(keys):
            raise StoreKeysMissingError(f"not there after {timeout}")

    def delete_key(self, key: str) -> bool:
        return self._values.pop(key, None) is not None

    def num_keys(self) -> int:
        return len(self._values)


class Mine(RendezvousHandler):
    """A handler of the user's own, over a store of theirs."""

    def get_backend(self) -> str:
        return "mine"

    def next_rendezvous(self) -> RendezvousInfo:
        store = rendezvous.PrefixStore("round", LikeTorch())
        return RendezvousInfo(store, 0, 1, rendezvous.RendezvousStoreInfo("localhost", 1), 1)

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        return

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return "run"

    def shutdown(self) -> bool:
        return True


if __name__ == "__main__":
    assert launch("localhost:0")
