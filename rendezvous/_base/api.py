"""What a launcher and a handler agree on: parameters in, RendezvousInfo out, a handler's methods.

Names and meanings follow torch elastic's `rendezvous.api` (torch 2.13), so that launchers written
for one can use the other. Knows no backend and no rulebook, and starts no thread.
"""

import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from rendezvous._base.endpoint import parse_endpoint

if TYPE_CHECKING:
    from rendezvous._stores.prefix import PrefixStore

__all__ = [
    "KeyValueStore",
    "RendezvousHandler",
    "RendezvousInfo",
    "RendezvousParameters",
    "RendezvousStoreInfo",
    "parse_rendezvous_endpoint",
]

_Self = TypeVar("_Self", bound="RendezvousHandler")
_TRUE = ("1", "true", "t", "yes", "y")
_FALSE = ("0", "false", "f", "no", "n")


class KeyValueStore(Protocol):
    """The store methods that the rendezvous and torch's agents call; every store has them."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def add(self, key: str, amount: int, /) -> int: ...
    def check(self, keys: list[str], /) -> bool: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...
    def multi_get(self, keys: list[str], /) -> list[bytes]: ...
    def multi_set(self, keys: list[str], values: list[str], /) -> None: ...
    def set_timeout(self, timeout: timedelta, /) -> None: ...
    @property
    def timeout(self) -> timedelta: ...


def parse_rendezvous_endpoint(endpoint: str | None, default_port: int) -> tuple[str, int]:
    """Split `host`, `host:port` or `[v6]:port` into host (without brackets) and port.

    None, or an empty endpoint, means `localhost` and the default port. Raises ValueError, which
    says what is wrong, for an invalid endpoint.
    """
    return parse_endpoint(endpoint or "", default_port)


class RendezvousParameters:
    """What a launcher asks for.

    Args:
        backend: the name of the registered backend, for example `c10d`.
        endpoint: where its store is, `host[:port]` or `[v6]:port`; empty: this machine and the
            backend's default port.
        run_id: names the job; nodes that give the same one at the same endpoint meet.
        min_nodes, max_nodes: how many nodes (launcher processes) make a round.
        local_addr: the address by which other nodes reach this one; default: detected.
        config: further settings of the backend and the handler. Values may be strings, as on a
            command line.

    Raises ValueError for an empty backend or run id, min_nodes < 1 and max_nodes < min_nodes.
    """

    def __init__(  # noqa: PLR0917  (the order is torch's)
        self,
        backend: str,
        endpoint: str,
        run_id: str,
        min_nodes: int,
        max_nodes: int,
        local_addr: str | None = None,
        **config: Any,
    ) -> None:
        if not backend:
            raise ValueError(
                "the name of the rendezvous backend is empty; pass one, for example 'c10d'"
            )
        if not run_id:
            raise ValueError("the run id is empty; give every node of the job the same run id")
        if min_nodes < 1:
            raise ValueError(f"min_nodes is {min_nodes}; it must be at least 1")
        if max_nodes < min_nodes:
            raise ValueError(f"max_nodes ({max_nodes}) is less than min_nodes ({min_nodes})")
        self.backend = backend
        self.endpoint = endpoint
        self.run_id = run_id
        self.min_nodes = min_nodes
        self.max_nodes = max_nodes
        self.local_addr = local_addr
        self.config: dict[str, Any] = config

    def __repr__(self) -> str:
        return (
            f"RendezvousParameters(backend={self.backend!r}, endpoint={self.endpoint!r}, "
            f"run_id={self.run_id!r}, min_nodes={self.min_nodes}, max_nodes={self.max_nodes}, "
            f"local_addr={self.local_addr!r}, "
            f"config={self.config!r})"
        )

    def get(self, key: str, default: Any = None) -> Any:
        """The configured value as it was given, or the default."""
        return self.config.get(key, default)

    def get_as_bool(self, key: str, default: bool | None = None) -> bool | None:
        """The configured value as a bool. Raises ValueError for any other value.

        Accepts 1/true/t/yes/y and 0/false/f/no/n in any case, and the ints 0 and 1.
        """
        value = self.get(key, default)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        if isinstance(value, str):
            word = value.strip().lower()
            if word in _TRUE:
                return True
            if word in _FALSE:
                return False
        raise ValueError(f"{key} is {value!r}, neither true nor false; use 1 or 0")

    def get_as_int(self, key: str, default: int | None = None) -> int | None:
        """The configured value as an int. Raises ValueError for any other value."""
        value = self.get(key, default)
        if value is None:
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ValueError(f"{key} is {value!r}, not a whole number") from None


@dataclass(frozen=True)
class RendezvousStoreInfo:
    """Where rank 0 serves the round's bootstrap store: the workers' MASTER_ADDR and MASTER_PORT."""

    MASTER_ADDR_KEY: ClassVar[str] = "MASTER_ADDR"
    MASTER_PORT_KEY: ClassVar[str] = "MASTER_PORT"

    master_addr: str
    master_port: int

    @staticmethod
    def build(
        rank: int, store: KeyValueStore, local_addr: str | None, server_port: int | None = None
    ) -> "RendezvousStoreInfo":
        """Rank 0 publishes its address and port through the store; every rank reads them back.

        Args:
            rank: this node's rank in the round.
            store: a key space of this round only: keys of an earlier round would lead nodes to an
                old address.
            local_addr: the address to publish (rank 0); default: this machine's fully qualified
                name.
            server_port: the port to publish (rank 0); default: one that is free now, but not
                reserved.

        The other ranks block until rank 0 has published, at most for the store's own timeout.
        """
        if rank == 0:
            port = free_port() if server_port is None else server_port
            store.multi_set(
                [RendezvousStoreInfo.MASTER_ADDR_KEY, RendezvousStoreInfo.MASTER_PORT_KEY],
                [local_addr or socket.getfqdn(), str(port)],
            )
        address = store.get(RendezvousStoreInfo.MASTER_ADDR_KEY)
        port_text = store.get(RendezvousStoreInfo.MASTER_PORT_KEY)
        return RendezvousStoreInfo(address.decode(), int(port_text))


@dataclass(frozen=True)
class RendezvousInfo:
    """A completed round, as this node sees it.

    Attributes:
        store: a key space for the nodes of this round only, shared with no other round.
        rank: of this node, from 0.
        world_size: how many nodes take part.
        bootstrap_store_info: where rank 0 serves the workers' store.
        round: counted from 1; grows with every round of the run.
        neighbours: addresses of the nodes with the rank before and the rank after, in a ring; None
            for one that has left by now.
    """

    store: "PrefixStore"
    rank: int
    world_size: int
    bootstrap_store_info: RendezvousStoreInfo
    round: int = 0
    neighbours: tuple[str | None, str | None] = (None, None)


class RendezvousHandler(ABC):
    """One node's part in the rendezvous of a run. `with` shuts it down at the end."""

    @abstractmethod
    def get_backend(self) -> str:
        """The name under which the backend is registered."""

    @property
    def use_agent_store(self) -> bool:
        """Whether workers are clients of the store at MASTER_ADDR:MASTER_PORT, or serve it."""
        return False

    @abstractmethod
    def next_rendezvous(self) -> RendezvousInfo:
        """Join, and block until a round with this node is complete.

        Raises RendezvousClosedError, RendezvousTimeoutError, RendezvousConnectionError or
        RendezvousStateError.
        """

    @abstractmethod
    def is_closed(self) -> bool:
        """Whether the run is closed for good, so that no more nodes can join."""

    @abstractmethod
    def set_closed(self) -> None:
        """Close the run for every node."""

    @abstractmethod
    def num_nodes_waiting(self) -> int:
        """How many membership changes call for a new round.

        Launchers call it ten times a second, and do not expect it to raise.
        """

    @abstractmethod
    def get_run_id(self) -> str:
        """The run id."""

    @abstractmethod
    def shutdown(self) -> bool:
        """Leave the run and release all resources; True if the other nodes were told."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


# As users know them: in tracebacks, in pickles and in help().
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = "rendezvous.api"
