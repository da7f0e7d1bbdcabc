"""`rendezvous.join`: a launcher's whole rendezvous as one call and one object.

Puts together what a handler offers. Knows no rule, no backend, and starts nothing. Called from one
thread, but for `World.changed`, which any thread may ask and wait for.
"""

from __future__ import annotations

import math
import operator
import os
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from rendezvous._base.api import RendezvousInfo, RendezvousParameters
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousError
from rendezvous._base.place import parse_place
from rendezvous._base.run_id import DEFAULT_RUN_ID, find_run_id
from rendezvous.backends.c10d import shared_run_id
from rendezvous.handler.linger import LINGER_S, linger
from rendezvous.handler.registry import get_rendezvous_handler

if TYPE_CHECKING:
    from rendezvous._base.events import OnEvent
    from rendezvous._base.health import HealthCheck
    from rendezvous._stores.prefix import PrefixStore
    from rendezvous.handler import DynamicRendezvousHandler

__all__ = ["Changed", "World", "join"]

_Self = TypeVar("_Self", bound="World")
# How often a change of membership is looked for. The handler answers from memory.
_LOOK_S = 0.05


class Changed:
    """Whether the round is over: a node came, was lost, or waits for the next one.

    Like a threading.Event that the rendezvous sets; `World.next_round` clears it.
    """

    def __init__(self, handler: DynamicRendezvousHandler) -> None:
        self._handler = handler
        self._is_over = False

    def __repr__(self) -> str:
        return f"<rendezvous.World.changed: {'set' if self.is_set() else 'unset'}>"

    def is_set(self) -> bool:
        """Answered from what the last heartbeat saw: costs nothing and never raises."""
        return self._handler.num_nodes_waiting() > 0

    def wait(self, timeout: float | timedelta | None = None) -> bool:
        """Block until it is set, or the timeout (in seconds) is over; whether it is set.

        False at once when this node has left by `World.close`.
        """
        deadline = Deadline.after(math.inf if timeout is None else _seconds("timeout", timeout))
        while not self.is_set():
            if deadline.is_over or self._is_over:
                return False
            deadline.sleep(_LOOK_S)
        return True

    def end(self) -> None:
        """It will not be set any more."""
        self._is_over = True


class World:
    """This node's place in a complete round. Made by `rendezvous.join`.

    Attributes:
        changed: whether nodes came or went since the round was complete; then all nodes that go on
            call `next_round`.
    """

    def __init__(self, handler: DynamicRendezvousHandler, linger_s: float) -> None:
        self._handler = handler
        self._linger_s = linger_s
        self._info: RendezvousInfo = handler.next_rendezvous()
        self.changed = Changed(handler)

    def __repr__(self) -> str:
        return (
            f"<rendezvous.World run {self.run_id!r}, round {self.round}, rank {self.rank} of "
            f"{self.size}>"
        )

    @property
    def run_id(self) -> str:
        """The run id, also where it was found."""
        return self._handler.get_run_id()

    @property
    def rank(self) -> int:
        """Of this node, from 0."""
        return self._info.rank

    @property
    def size(self) -> int:
        """How many nodes take part."""
        return self._info.world_size

    @property
    def round(self) -> int:
        """From 1; grows with every round of the run."""
        return self._info.round

    @property
    def store(self) -> PrefixStore:
        """Keys of this round alone, which its nodes share with nobody else."""
        return self._info.store

    @property
    def neighbours(self) -> tuple[str | None, str | None]:
        """Addresses of the nodes with the rank before and after, in a ring; None: it has left."""
        return self._info.neighbours

    @property
    def master_addr(self) -> str:
        """Where rank 0 of this round is reached."""
        return self._info.bootstrap_store_info.master_addr

    @property
    def master_port(self) -> int:
        """A port there, where rank 0's node serves a store unless `bootstrap_store=False`."""
        return self._info.bootstrap_store_info.master_port

    @property
    def address(self) -> str:
        """URL of the run's own keys, for `open_store` and the command `rendezvous`."""
        return self._handler.store_address

    @property
    def handler(self) -> DynamicRendezvousHandler:
        """What this was made of, with all that it can."""
        return self._handler

    def next_round(self: _Self) -> _Self:
        """Join the next round, and block until it is complete; this object is then that round.

        Raises as `join`. After an error, this node takes no part any more.
        """
        self._info = self._handler.next_rendezvous()
        return self

    def give_up(
        self, exit_code: int, last_line: str | bytes = b"", *, do_not_restart: bool = False
    ) -> str:
        """This node's work broke, and nobody will start it again.

        The others are told; if too few are left, or with `do_not_restart`, their `next_round`
        raises RendezvousFailedError. Returns which node gave up first, and why.
        """
        return self._handler.give_up(exit_code, last_line, do_not_restart=do_not_restart)

    def close(self, failed: bool = False) -> None:
        """Leave, and close all that `join` opened. May be called again.

        If this node serves the store that the others use, it first waits until they have left, up
        to `linger_timeout`. Raises nothing.

        Args:
            failed: whether the others shall see this node as lost, and begin a new round.
        """
        self._end(failed, waits=True)

    def _end(self, failed: bool, waits: bool) -> None:
        handler = self._handler
        try:
            handler.leave(failed=failed)
            if waits and handler.hosts_store:
                what = "the store hosted here"
                linger(handler, what, self._linger_s, handler.wait_until_alone)
        except RendezvousError:
            pass  # shutting down tells of it
        finally:
            handler.shutdown()
            self.changed.end()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As `close`; failed if an exception ends the block. Ctrl-C waits for nobody."""
        has_failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
        self._end(has_failed, waits=not isinstance(error, KeyboardInterrupt))


def join(
    endpoint: str,
    nodes: int | tuple[int, int] = 1,
    run_id: str | None = None,
    *,
    local_addr: str | None = None,
    health_check: HealthCheck | None = None,
    on_event: OnEvent | None = None,
    **settings: Any,
) -> World:
    """Meet the other nodes of the job; block until a round with this node is complete.

        with rendezvous.join("node0:29400", nodes=(2, 4)) as world:
            print(world.rank, world.size, world.master_addr, world.master_port)

    Every node makes the same call, in any order. The node on the machine that the endpoint names
    serves the store, unless a server already runs there.

    Args:
        endpoint: `HOST[:PORT]`; or `tcp://HOST[:PORT]` (`tcps://` over TLS), `unix:///PATH`,
            `etcd://MEMBER[,MEMBER...]` (`etcds://` over TLS), `file:///PATH`.
        nodes: how many, or the least and the most.
        run_id: names the job. Default: as for `rendezvous exec`: `default` where a node of the job
            serves the store, else what SLURM, Kubernetes or another workload manager calls the job;
            a ValueError where none does.
        local_addr: the address under which other nodes reach this one; default: found out.
        health_check: runs before each round, see `rendezvous exec --health-check`: a command, or a
            callable that raises, or returns False or a reason, if this node is not fit. Then `join`
            raises RendezvousUnhealthyError, and the others are told.
        on_event: called with an Event for each transition of this node.
        settings: those of `rendezvous exec --rdzv-conf`, such as `join_timeout=60`, or `token`,
            `tls_ca` and the others of docs/security.md.

    Raises ValueError for bad arguments, and the errors of
    `DynamicRendezvousHandler.next_rendezvous`.
    """
    low, high = _least_and_most(nodes)
    backend, place = _place(endpoint, settings)
    linger_s = _seconds("linger_timeout", settings.pop("linger_timeout", LINGER_S))
    if linger_s < 0:
        raise ValueError(f"linger_timeout is {linger_s:g} s; it must not be negative")
    if run_id is not None and not isinstance(run_id, str):
        raise ValueError(f"run_id is {run_id!r}, not a string")
    if run_id is None:
        found = find_run_id(os.environ).run_id
        if backend == "c10d":
            run_id = DEFAULT_RUN_ID
            settings["run_id_elsewhere"] = found
        else:
            run_id = shared_run_id(found, endpoint)
    for name, value in (("health_check", health_check), ("on_event", on_event)):
        if value is not None:
            settings[name] = value
    parameters = RendezvousParameters(backend, place, run_id, low, high, local_addr, **settings)
    handler = get_rendezvous_handler(parameters)
    try:
        return World(handler, linger_s)  # type: ignore[arg-type]
    except BaseException:
        handler.shutdown()
        raise


def _least_and_most(nodes: int | tuple[int, int]) -> tuple[int, int]:
    pair = (nodes, nodes) if isinstance(nodes, int) else nodes
    try:
        low, high = map(operator.index, pair)
    except (TypeError, ValueError):
        raise ValueError(
            f"nodes is {nodes!r}; give a number, such as 4, or the least and the most, such as"
            " (2, 4)"
        ) from None
    return low, high


def _seconds(name: str, value: timedelta | float) -> float:
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if math.isnan(seconds):
        raise ValueError(f"{name} is {value!r}, not a number of seconds")
    return seconds


def _place(endpoint: str, settings: dict[str, Any]) -> tuple[str, str]:
    """The backend, and its endpoint; settings that the form means are added. ValueError."""
    if not isinstance(endpoint, str):
        raise ValueError(  # noqa: TRY004  (as for all that is wrong with it)
            f"the endpoint is {endpoint!r}, not a string such as 'node0:29400'"
        )
    place = parse_place(endpoint)
    for name, value in place.settings.items():
        settings.setdefault(name, value)
    return place.backend, place.endpoint


for _class in (Changed, World):
    _class.__module__ = "rendezvous"
