"""Nodes of one run, in one process: what the tests of the handler share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from support.background import Background, eventually

from rendezvous import (
    C10dRendezvousBackend,
    DynamicRendezvousHandler,
    HashStore,
    RendezvousBackend,
    RendezvousInfo,
    RendezvousTimeout,
    Store,
    TCPStore,
    _core,
)
from rendezvous._base.deadline import Deadline
from rendezvous._coordination.by_server.view import view_of_all
from rendezvous._coordination.coordinator import OwnView
from rendezvous._coordination.run_view import RunView, view_of_group
from rendezvous.backends.etcd import EtcdClient, EtcdRendezvousBackend, EtcdStore
from rendezvous.backends.etcd.run.keys import RunKeys, node_name
from rendezvous.backends.etcd.run.leader.leader import read_run
from rendezvous.backends.etcd.run.view import read_group

RUN = "run-7"
KEY = f"torch.rendezvous.{RUN}"
LOOPBACK = "127.0.0.1"
# Short, so that changes are seen soon. Nobody is taken for dead, however slow the machine: tests in
# which somebody shall die say so by DYING.
INTERVAL_S = 0.1
# A last call of rounds that are to have all nodes, on a slow machine too; later ones have fewer.
FOR_ALL_S = 2.0
DYING: dict[str, Any] = {"keep_alive_max_attempt": 10}
_NEVER = 1_000_000


@dataclass(frozen=True)
class Look:
    """A run as its keeper has it."""

    round: int
    finished_round: int
    census: RunView
    last_call_left: float | None

    @property
    def participants(self) -> list[_core.Node]:
        return list(self.census.participants)

    @property
    def waiting(self) -> list[_core.Node]:
        return list(self.census.waiting)

    @property
    def spares(self) -> list[_core.Node]:
        return list(self.census.spares)

    @property
    def lost(self) -> list[_core.Node]:
        return list(self.census.lost)


@dataclass
class Run:
    """One run; `new_store` makes a node's client of the store.

    rulebook: who runs the rules, `server` or `store`.
    """

    new_store: Callable[[], Store]
    rulebook: str = "store"
    handlers: list[DynamicRendezvousHandler] = field(default_factory=list)
    _eye: _core.RunClient | None = None

    def node(
        self,
        min_nodes: int,
        max_nodes: int | None = None,
        *,
        backend: RendezvousBackend | None = None,
        join_s: float = 60.0,
        last_call_s: float = 0.1,
        spare_s: float | None = None,
        **options: Any,
    ) -> DynamicRendezvousHandler:
        """A node that has not joined yet."""
        store = self.new_store()
        handler = DynamicRendezvousHandler.from_backend(
            RUN,
            store,
            backend or C10dRendezvousBackend(store, RUN),
            min_nodes,
            max_nodes or min_nodes,
            timeout=RendezvousTimeout(
                join=join_s, last_call=last_call_s, close=20.0, spare=spare_s
            ),
            **{
                "local_addr": LOOPBACK,
                "keep_alive_interval": INTERVAL_S,
                "keep_alive_max_attempt": _NEVER,
                "rulebook": self.rulebook if backend is None else "store",
                **options,
            },
        )
        self.handlers.append(handler)
        return handler

    def nodes(self, count: int, *args: Any, **options: Any) -> list[DynamicRendezvousHandler]:
        """Several alike."""
        return [self.node(*args, **options) for _ in range(count)]

    def look(self) -> Look:
        """Who is there, from the run's keeper."""
        if self.rulebook == "store":
            group = self.stored()
            census = view_of_group(group, 0.0, "store")
            return Look(group.round, group.finished_round, census, group.last_call_left(0.0))
        if self._eye is None:
            self._eye = self.client(_core.Node("eye", 0, 0), _core.GroupSettings(1, 1))
        status = self._eye.status(60)
        return Look(
            status.round,
            status.finished_round,
            view_of_all(self._eye, Deadline.after(60)),
            status.last_call_left,
        )

    def client(
        self, node: _core.Node, settings: _core.GroupSettings, grace_s: float = 3600.0
    ) -> _core.RunClient:
        """A node that is not one of ours, in a run that the server keeps."""
        store = self.new_store()
        assert isinstance(store, TCPStore)
        return _core.RunClient(store, RUN, node, settings, grace_s)

    def stored(self) -> _core.Group:
        """The group as it is stored."""
        group = _core.Group()
        answer = C10dRendezvousBackend(self.new_store(), RUN).get_state()
        group.observe(answer[0] if answer else None, time.monotonic())
        return group

    def change(self, operation: Callable[[_core.Group, float], None]) -> None:
        """Change the group as a node would that is not one of ours."""
        backend = C10dRendezvousBackend(self.new_store(), RUN)
        while True:
            answer = backend.get_state()
            group = _core.Group()
            group.observe(answer[0] if answer else None, time.monotonic())
            operation(group, time.monotonic())
            result = backend.set_state(group.encode(), answer[1] if answer else None)
            if result is not None and result[2]:
                return

    def evict(self, node: _core.Node) -> None:
        """As if the others had taken the node for dead."""
        if self.rulebook == "store":
            self.change(lambda group, now: group.leave(node, False, now))
        else:
            client = self.client(node, _core.GroupSettings(1, 1))
            assert client.leave(False, 60)
            client.close()

    def shutdown(self) -> None:
        for handler in reversed(self.handlers):
            handler.shutdown()


class EtcdRun(Run):
    """A run in etcd that a node leads; below a prefix of its own."""

    def __init__(self, endpoints: str, prefix: str = "tests/", **login: Any) -> None:
        self.endpoints = endpoints
        self.prefix = prefix + uuid.uuid4().hex
        self._login = login
        super().__init__(self.new_etcd_store, "etcd")

    def new_etcd_store(self) -> EtcdStore:
        return EtcdStore(self.etcd(), self.prefix + "/store", 60)

    def etcd(self) -> EtcdClient:
        return EtcdClient(self.endpoints, **self._login)

    def backend(self) -> EtcdRendezvousBackend:
        return EtcdRendezvousBackend(self.etcd(), RUN, self.prefix)

    def node(
        self,
        min_nodes: int,
        max_nodes: int | None = None,
        *,
        backend: RendezvousBackend | None = None,
        **options: Any,
    ) -> DynamicRendezvousHandler:
        options.setdefault("rulebook", "auto")
        return super().node(min_nodes, max_nodes, backend=backend or self.backend(), **options)

    def look(self) -> Look:
        keys = RunKeys(self.prefix, RUN)
        reading = read_run(self.etcd(), keys, Deadline.after(60))
        group = reading.book(keys, time.monotonic()).group
        census = view_of_group(read_group(self.etcd(), keys, Deadline.after(60)), 0.0, "leader")
        return Look(group.round, group.finished_round, census, group.last_call_left(0.0))

    def evict(self, node: _core.Node) -> None:
        self.etcd().delete(RunKeys(self.prefix, RUN).node(node_name(node)))


def joining(handler: DynamicRendezvousHandler) -> Background[RendezvousInfo]:
    """`next_rendezvous` on a thread of its own."""
    return Background(handler.next_rendezvous)


def join_all(handlers: list[DynamicRendezvousHandler]) -> list[RendezvousInfo]:
    """Bring them into a round together, and return what each got."""
    return [each.result() for each in [joining(handler) for handler in handlers]]


def changes(handler: DynamicRendezvousHandler, count: int) -> None:
    """Wait until the handler reports so many changes of membership."""
    eventually(f"{count} changes", lambda: handler.num_nodes_waiting() == count)


def die(handler: DynamicRendezvousHandler) -> None:
    """From the others' point of view: its process is gone without a word."""
    handler._coordinator.stop(Deadline.after(60.0))


def further_heartbeats(handler: DynamicRendezvousHandler) -> None:
    """Wait until the handler has sent two heartbeats that it has not begun yet."""
    for _ in range(2):
        eventually("a heartbeat", partial(_is_replaced, handler, handler._coordinator.view))


def _is_replaced(handler: DynamicRendezvousHandler, view: OwnView) -> bool:
    return handler._coordinator.view is not view


class LossyBackend(RendezvousBackend):
    """Passes on to another backend; loses the first writes, or fails as long as it is told to."""

    def __init__(self, backend: RendezvousBackend, lost_writes: int = 0) -> None:
        self.backend = backend
        self.lost_writes = lost_writes
        self.error: Exception | None = None
        self.calls = 0

    @property
    def name(self) -> str:
        return "lossy"

    def get_state(self) -> tuple[bytes, object] | None:
        self._count()
        return self.backend.get_state()

    def set_state(
        self, state: bytes, token: object | None = None
    ) -> tuple[bytes, object, bool] | None:
        self._count()
        if self.lost_writes:
            self.lost_writes -= 1
            # As if another node had been faster, with a write that changed nothing that matters.
            answer = self.backend.get_state()
            return (*answer, False) if answer else (_core.Group().encode(), None, False)
        return self.backend.set_state(state, token)

    def _count(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


class ForeignStore:
    """A store that is not one of ours, with the methods that torch's stores have."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or HashStore()
        self.timeout = timedelta(seconds=60)

    def set_timeout(self, timeout: timedelta, /) -> None:
        self.timeout = timeout

    def set(self, key: str, value: str, /) -> None:
        self._store.set(key, value)

    def get(self, key: str, /) -> bytes:
        return self._store.get(key, self.timeout)

    def add(self, key: str, amount: int, /) -> int:
        return self._store.add(key, amount)

    def compare_set(self, key: str, expected: str, desired: str, /) -> bytes:
        return self._store.compare_set(key, expected, desired)

    def check(self, keys: list[str], /) -> bool:
        return self._store.check(keys)

    def wait(self, keys: list[str], timeout: timedelta, /) -> None:
        try:
            self._store.wait(keys, timeout)
        except TimeoutError as error:
            raise RuntimeError("wait timeout") from error

    def multi_get(self, keys: list[str], /) -> list[bytes]:
        return self._store.multi_get(keys)

    def multi_set(self, keys: list[str], values: list[str], /) -> None:
        self._store.multi_set(keys, values)


@contextmanager
def stored_run() -> Iterator[Run]:
    """A run whose state is kept by compare-and-set."""
    store = HashStore()
    run = Run(lambda: store)
    yield run
    run.shutdown()


@contextmanager
def run_kept_by(rulebook: str, request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run kept by its nodes ("store"), by an elected one ("etcd"), or by a server."""
    if rulebook == "store":
        with stored_run() as stored:
            yield stored
        return
    run: Run
    if rulebook == "etcd":
        run = EtcdRun(request.getfixturevalue("etcd_endpoint"))
    else:
        # Asked for now, so that the server outlives the handlers.
        request.getfixturevalue("server")
        run = Run(request.getfixturevalue("connect"), "server")
    yield run
    run.shutdown()
