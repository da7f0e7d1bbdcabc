"""torchrun's plug-in: `torchrun --rdzv-backend=rendezvous --rdzv-endpoint=HOST:PORT ...`.

torch finds it by the entry points of entry.py, and asks for a handler. Which store is
behind it comes from the endpoint: HOST[:PORT] or tcp://HOST[:PORT], etcd://MEMBER[,MEMBER...]
(etcds:// over TLS), tcps://, unix:///PATH, file:///PATH. Keys of --rdzv-conf are those of
`rendezvous exec`. docs/torchrun.md says what torchrun's users see of it. What any handler of ours
needs under torch is here too; torch itself is imported when the first one is made.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rendezvous._base.api import RendezvousInfo, RendezvousParameters
from rendezvous._base.errors import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousFailedError,
    RendezvousFinishedError,
    RendezvousGracefulExitError,
    RendezvousStateError,
    RendezvousTimeoutError,
    RendezvousUnhealthyError,
)
from rendezvous._base.exit_codes import DO_NOT_RESTART
from rendezvous._base.place import parse_place
from rendezvous._base.security import refuse_shown_token
from rendezvous._base.settings import C10D_SETTINGS, ETCD_SETTINGS, read_seconds, unknown_settings
from rendezvous._core import Node
from rendezvous._stores.store import Store
from rendezvous.handler import DynamicRendezvousHandler
from rendezvous.handler.linger import LINGER_S, linger
from rendezvous.handler.registry import get_rendezvous_handler

if TYPE_CHECKING:
    from torch.distributed.elastic.rendezvous import RendezvousInfo as TorchInfo
    from torch.distributed.elastic.rendezvous import RendezvousParameters as TorchParameters

__all__ = [
    "TorchrunHandler",
    "create_handler",
    "show_log",
    "torch_handler_class",
    "torch_info",
    "translated",
    "warn_of_unknown",
]

_log = logging.getLogger(__name__)

# torchrun adds these whatever the backend is: `timeout` for torch's oldest one, `rank` for static.
_IGNORED_SETTINGS = ("timeout", "rank")
# torchrun's own name for a job that was not given one.
_NO_RUN_ID = "none"
# Who ends by a signal does not wait long for a store that may be gone.
_AT_EXIT_S = 2.0


def create_handler(params: TorchParameters) -> TorchrunHandler:
    """A handler for torch's elastic agent.

    Raises ValueError for bad parameters, and torch's own classes of errors for the rest.
    """
    show_log()
    ours = _parameters(params)
    linger_s = read_seconds(ours, "linger_timeout", LINGER_S)
    with translated():
        handler = get_rendezvous_handler(ours)
    assert isinstance(handler, DynamicRendezvousHandler)
    made: TorchrunHandler = torch_handler_class(TorchrunHandler)(handler, params.backend, linger_s)
    return made


def _parameters(params: TorchParameters) -> RendezvousParameters:
    config = {key: value for key, value in params.config.items() if key not in _IGNORED_SETTINGS}
    refuse_shown_token(config)
    try:
        place = parse_place(params.endpoint)
    except ValueError as error:
        raise ValueError(f"--rdzv-endpoint: {error}") from None
    backend, endpoint = place.backend, place.endpoint
    config = place.settings | config
    if backend == "etcd" and params.run_id == _NO_RUN_ID:
        raise ValueError(
            "a job over etcd needs a name, because all jobs without one would meet: give every "
            "torchrun of the job the same --rdzv-id, which no other job uses"
        )
    known = C10D_SETTINGS if backend == "c10d" else (*ETCD_SETTINGS, "user")
    config = warn_of_unknown(config, known)
    if backend == "c10d" and params.run_id == _NO_RUN_ID:
        # Enough where an agent of the job serves the store; elsewhere, all such jobs would meet.
        config["run_id_elsewhere"] = ""
    if os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") == "1":
        config["bootstrap_store"] = False
    return RendezvousParameters(
        backend,
        endpoint,
        params.run_id,
        params.min_nodes,
        params.max_nodes,
        params.local_addr,
        **config,
    )


def warn_of_unknown(config: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """The settings of --rdzv-conf that somebody knows. The others, maybe torch's, are named."""
    for text in unknown_settings(config, known):
        _log.warning("--rdzv-conf: %s", text)
    return {key: value for key, value in config.items() if key in known}


class TorchrunHandler:
    """What torch's elastic agent asks of a rendezvous; made by `create_handler`.

    Its class at run time is also derived from torch's RendezvousHandler.
    """

    def __init__(self, handler: DynamicRendezvousHandler, name: str, linger_s: float) -> None:
        self._handler = handler
        self._name = name
        self._run = handler.get_run_id()
        self._linger_s = linger_s
        self._rank: int | None = None
        self._is_over = False
        self._pid = os.getpid()
        self._at_exit = functools.partial(_leave_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    def get_backend(self) -> str:
        return self._name

    def get_run_id(self) -> str:
        return self._run

    @property
    def use_agent_store(self) -> bool:
        """Whether the workers' `init_process_group` meets in the store of rank 0's agent."""
        return self._handler.use_agent_store

    def next_rendezvous(self) -> TorchInfo:
        """Join, and block until a round with this node is complete; at most the join timeout.

        Raises torch's errors, which are ours at the same time. Under the command torchrun, an error
        is one line of the log and exit code 1, and a spare whose job is done ends with 0.
        """
        node, run = f"The node '{_node_text(self._handler.node)}'", f"the rendezvous '{self._run}'"
        record = functools.partial(self._record, "next_rendezvous")
        record(f"{node} attempts to join the next round of {run}.")
        with translated(record):
            info = self._handler.next_rendezvous()
        self._rank = info.rank
        where = info.bootstrap_store_info
        record(
            f"{node} has joined round {info.round} of {run} as rank {info.rank} in a world of size "
            f"{info.world_size}.",
            master_endpoint=f"{where.master_addr}:{where.master_port}",
        )
        return torch_info(info, self._is_broken)

    def is_closed(self) -> bool:
        with translated():
            return self._handler.is_closed()

    def set_closed(self) -> None:
        with translated():
            self._handler.set_closed()
        node = _node_text(self._handler.node)
        self._record(
            "set_closed", f"The node '{node}' has closed the rendezvous '{self._run}'.", "SUCCEEDED"
        )

    def num_nodes_waiting(self) -> int:
        """How many changes of membership ask for a new round; costs nothing and never raises."""
        return self._handler.num_nodes_waiting()

    def shutdown(self) -> bool:
        """Leave; as failed, if torchrun ends with an error. The host of the store stays for the
        others.

        Unlike with torch's c10d, the run is not closed: the remaining nodes go on if there are
        enough.
        """
        if self._is_over or os.getpid() != self._pid:
            return self._handler.shutdown()
        self._is_over = True
        # torchrun calls it in a `finally`, and does not say why it ends.
        error = sys.exc_info()[1]
        has_failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
        try:
            if error is not None and has_failed:
                code, line = _ending(error)
                is_final = code == DO_NOT_RESTART
                cause = self._handler.give_up(code, line, do_not_restart=is_final)
                if cause:
                    _log.error("run %r: the job failed: %s", self._run, cause)
            else:
                self._handler.leave()
            if self._handler.hosts_store:
                linger(
                    self._handler,
                    "the store hosted here",
                    self._linger_s,
                    self._handler.wait_until_alone,
                )
        except RendezvousError as failure:
            _log.warning("%s", failure)
        finally:
            told = self._handler.shutdown()
            atexit.unregister(self._at_exit)
        node = _node_text(self._handler.node)
        self._record(
            "shutdown",
            f"The node '{node}' has left the rendezvous '{self._run}'.",
            "FAILED" if has_failed else "SUCCEEDED",
        )
        return told

    def _is_broken(self) -> bool:
        return self._handler.num_nodes_waiting() > 0

    def _record(
        self, method: str, message: str, state: str = "RUNNING", master_endpoint: str = ""
    ) -> None:
        """An event for torch.distributed.elastic.events, as torch's own handler gives."""
        from torch.distributed.elastic.events import NodeState, construct_and_record_rdzv_event

        node = self._handler.node
        construct_and_record_rdzv_event(
            run_id=self._run,
            message=message,
            node_state=NodeState[state],
            name=f"{type(self).__name__}.{method}",
            hostname=node.addr,
            pid=node.pid,
            master_endpoint=master_endpoint,
            local_id=node.local_id,
            rank=self._rank,
        )

    def leave_at_exit(self) -> None:
        if os.getpid() == self._pid:
            with suppress(RendezvousError):
                self._handler.cancel(_AT_EXIT_S, failed=True)
            self._handler.shutdown()


def _node_text(node: Node) -> str:
    """As torch's events have it."""
    return f"{node.addr}_{node.pid}_{node.local_id}"


def _leave_at_exit(handler: weakref.ref[TorchrunHandler]) -> None:
    """torchrun does not shut its handler down when a signal ends it."""
    alive = handler()
    if alive is not None:
        alive.leave_at_exit()


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit code, and the last line, of what torchrun ends by."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if isinstance(error, ChildFailedError):
        rank, failure = error.get_first_failure()
        lines = str(failure.message).strip().splitlines()
        return failure.exitcode, f"rank {rank}: {lines[-1] if lines else ''}"
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    return code, f"{type(error).__name__}: {error}"


@functools.cache
def torch_handler_class(ours: type[Any]) -> type[Any]:
    """`ours`, which is also a RendezvousHandler of torch's."""
    from torch.distributed.elastic import rendezvous as elastic

    return type(ours.__name__, (ours, elastic.RendezvousHandler), {"__module__": ours.__module__})


def torch_info(info: RendezvousInfo, is_broken: Callable[[], bool]) -> TorchInfo:
    """A round as torch's agent wants it; see AgentStore for `is_broken`."""
    from torch.distributed.elastic import rendezvous as elastic

    from rendezvous._torchrun.agent_store import AgentStore

    assert isinstance(info.store, Store)
    where = info.bootstrap_store_info
    return elastic.RendezvousInfo(
        AgentStore(info.store, info.rank, info.world_size, is_broken),
        info.rank,
        info.world_size,
        elastic.RendezvousStoreInfo(where.master_addr, where.master_port),
    )


@contextmanager
def translated(record: Callable[..., None] | None = None) -> Iterator[None]:
    """Errors of ours leave as torch's too; the command torchrun ends by them, in words."""
    try:
        yield
    except RendezvousError as error:
        if record is not None:
            record(f"{type(error).__name__}: {error}", "FAILED")
        if _is_torchrun():
            _end_torchrun(error)
        from rendezvous.torch import mixed_with

        raise mixed_with(error, _torch_class(error)) from error.__cause__


def _torch_class(error: RendezvousError) -> type[Exception]:
    from torch.distributed.elastic import rendezvous as elastic

    pairs: dict[type[RendezvousError], Any] = {
        RendezvousClosedError: elastic.RendezvousClosedError,
        RendezvousTimeoutError: elastic.RendezvousTimeoutError,
        RendezvousConnectionError: elastic.RendezvousConnectionError,
        RendezvousStateError: elastic.RendezvousStateError,
        RendezvousGracefulExitError: elastic.RendezvousGracefulExitError,
    }
    found = (theirs for ours, theirs in pairs.items() if isinstance(error, ours))
    torch_class: type[Exception] = next(found, elastic.RendezvousError)
    return torch_class


def _is_torchrun() -> bool:
    """Whether the process is the command torchrun, and no program that embeds torch's agent."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = getattr(spec, "name", "") or Path(sys.argv[0]).name
    return name in {"torch.distributed.run", "torch.distributed.launch", "torchrun"}


def _end_torchrun(error: RendezvousError) -> NoReturn:
    if isinstance(error, (RendezvousFinishedError, RendezvousGracefulExitError)):
        _log.info("%s", error)
        raise SystemExit(0) from None
    _log.error("%s", error)
    is_final = isinstance(error, RendezvousFailedError) or (
        isinstance(error, RendezvousUnhealthyError) and error.do_not_restart
    )
    raise SystemExit(DO_NOT_RESTART if is_final else 1) from None


def show_log() -> None:
    """torchrun shows the log of torch alone, and only its warnings."""
    logger = logging.getLogger("rendezvous")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("[%(asctime)s] rendezvous: %(levelname)s: %(message)s", "%H:%M:%S")
    )
    logger.addHandler(handler)
    logger.propagate = False
    # People read this log, which says the same in words.
    logging.getLogger("rendezvous.events").setLevel(logging.WARNING)
    level = logging.getLevelName(os.environ.get("LOGLEVEL", "INFO").upper())
    logger.setLevel(level if isinstance(level, int) else logging.INFO)
