"""The compiled core: stores, the store server and the rulebook of a rendezvous."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from types import TracebackType
from typing import Any, Literal, NoReturn, TypeAlias, final

from rendezvous._stores.store import Store as _Store

_Text: TypeAlias = str | bytes
_Value: TypeAlias = str | bytes | bytearray | memoryview
_Timeout: TypeAlias = timedelta | float
_TokenText: TypeAlias = str | bytes | PathLike[str]
# The job's secret, a file that holds it, or who knows; "": none at all. None: the environment's.
_Token: TypeAlias = _TokenText | Callable[[], _TokenText | None]
_File: TypeAlias = str | PathLike[str]

__version__: str
build_commit: str  # empty: not known
build_compiler: str
# What the server puts where compare-and-set clients have a run's state, while it keeps the run.
RUN_MARKER: str

def _next_log_record(timeout: _Timeout) -> tuple[int, str] | None: ...
def _wake_log_reader() -> None: ...
def _set_log_thread(runs: bool) -> None: ...

# What the compiled stores are. At runtime it is registered with rendezvous.Store, the contract.
class Store(_Store):
    def set(self, key: _Text, value: _Value, ttl: _Timeout | None = None) -> None: ...
    def get(self, key: _Text, timeout: _Timeout | None = None) -> bytes: ...
    def try_get(self, key: _Text) -> bytes | None: ...
    def watch(
        self, key: _Text, known_version: int, timeout: _Timeout | None = None
    ) -> tuple[bytes | None, int]: ...
    def set_if_version(self, key: _Text, value: _Value, version: int) -> tuple[int, bool]: ...
    def compare_set(self, key: _Text, expected: _Value, desired: _Value) -> bytes: ...
    def compare_exchange(
        self, key: _Text, expected: _Value, desired: _Value
    ) -> tuple[bytes, bool]: ...
    def add(self, key: _Text, amount: int) -> int: ...
    def check(self, keys: Iterable[_Text]) -> bool: ...
    def wait(self, keys: Iterable[_Text], timeout: _Timeout | None = None) -> None: ...
    def delete_key(self, key: _Text) -> bool: ...
    def delete_prefix(self, prefix: _Text) -> int: ...
    def num_keys(self) -> int: ...
    def list_keys(self, prefix: _Text = "") -> list[str]: ...
    def append(self, key: _Text, value: _Value) -> None: ...
    def multi_get(self, keys: Iterable[_Text], timeout: _Timeout | None = None) -> list[bytes]: ...
    def multi_set(self, keys: Iterable[_Text], values: Iterable[_Value]) -> None: ...
    def queue_push(self, key: _Text, value: _Value) -> None: ...
    def queue_pop(
        self, key: _Text, block: bool = True, timeout: _Timeout | None = None
    ) -> bytes: ...
    def queue_len(self, key: _Text) -> int: ...
    def barrier(
        self,
        key: _Text,
        world_size: int,
        timeout: _Timeout | None = None,
        rank: int | None = None,
        round: int | None = None,
    ) -> None: ...
    def exchange(
        self,
        key: _Text,
        rank: int,
        world_size: int,
        value: _Value,
        timeout: _Timeout | None = None,
    ) -> list[bytes]: ...
    def clone(self, timeout: _Timeout | None = None) -> _Store: ...
    def has_extended_api(self) -> bool: ...
    def set_timeout(self, timeout: _Timeout) -> None: ...
    @property
    def timeout(self) -> timedelta: ...
    def close(self) -> None: ...

@final
class HashStore(Store):
    def __init__(self) -> None: ...

# Over compiled stores; rendezvous.PrefixStore makes it.
@final
class PrefixStore(Store):
    def __init__(self, prefix: _Text, store: Store) -> None: ...
    # The very object that it was made over.
    @property
    def underlying_store(self) -> Store: ...
    @property
    def _underlying_non_prefix_store(self) -> Store: ...

def _owning_view(prefix: _Text, store: Store) -> PrefixStore: ...

@final
class FileStore(Store):
    def __init__(
        self,
        file_name: str | bytes | PathLike[str],
        world_size: int = -1,
        job_id: _Text = "",
        *,
        timeout: _Timeout | None = None,
    ) -> None: ...
    @property
    def path(self) -> str: ...

@final
class TCPStore(Store):
    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: _Timeout | None = None,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
        *,
        protocol: Literal["native", "c10d"] = "native",
        token: _Token | None = None,
        tls_cert: _File | None = None,
        tls_key: _File | None = None,
        tls_ca: _File | None = None,
        tls_name: str | None = None,
        tls: bool = False,
        insecure: bool = False,
        space: str | None = None,
    ) -> None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> Literal["native", "c10d"]: ...
    @property
    def libuvBackend(self) -> bool: ...  # noqa: N802
    # The IP address of this client as the server sees it: what other nodes can reach this machine
    # by.
    @property
    def observed_address(self) -> str: ...
    @property
    def is_of_one_job(self) -> bool: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...

@final
class Server:
    # Raises StoreAddressInUseError (names the port and, where it can be found out, the process that
    # holds it).
    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        listen_fd: int | None = None,
        limits: Mapping[str, int] | None = None,
        *,
        of_one_job: bool = False,
        token: _Token | None = None,
        tls_cert: _File | None = None,
        tls_key: _File | None = None,
        tls_ca: _File | None = None,
        insecure: bool = False,
        allow: Sequence[str] | None = None,
    ) -> None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def limits(self) -> dict[str, int]: ...
    # Raises StoreValueError for a server that was made without `allow`.
    def allow(self, addresses: Sequence[str]) -> None: ...
    # What is in it: its clock, counters, name spaces, runs and warnings, with the events that came
    # after the one with that serial; None: without events.
    def report(self, after: int | None = 0) -> dict[str, Any]: ...
    # For rendezvous.monitor. One run with its nodes and its last events; of each numeric address,
    # whether clients "is" there, "was" or "never" were; the value at a key.
    def _report_of_run(self, space: str, run_id: str, events_max: int) -> dict[str, Any] | None: ...
    def _host_states(self, space: str, addresses: list[str]) -> list[str]: ...
    def _value(self, space: str, key: str) -> bytes | None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Server: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

def tls_library() -> str: ...
def make_token(space: str = "default", role: str = "member") -> str: ...
def saved_token_path() -> str: ...
def has_credentials(
    *,
    token: _Token | None = None,
    tls_cert: _File | None = None,
    tls_key: _File | None = None,
    tls_ca: _File | None = None,
    tls_name: str | None = None,
) -> bool: ...
def server_limits() -> dict[str, int]: ...

# Of the store's name space or, for an admin's token, of every one: counts by name, and the limits.
def census(
    store: TCPStore, every: bool, timeout: _Timeout
) -> tuple[dict[str, dict[str, int]], dict[str, int]]: ...
def interface_addresses() -> list[str]: ...

@final
class Node:
    """Who joins: address, process id, and a number that tells joiners of one process apart."""

    def __init__(self, addr: str, pid: int, local_id: int) -> None: ...
    @property
    def addr(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def local_id(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __lt__(self, other: Node) -> bool: ...  # natural sort of addr, then pid, then local_id

@final
class GroupSettings:
    """What all nodes of a group must agree on; the first to join decides. Times in seconds."""

    def __init__(
        self,
        min_nodes: int,
        max_nodes: int,
        last_call_timeout: float = 30.0,
        keep_alive_interval: float = 5.0,
        keep_alive_max_attempt: int = 3,
        *,
        rank_by: str = "address",
        sticky_ranks: bool = True,
        former_first: bool = True,
        debounce: float = 0.0,
        segment: int = 1,
    ) -> None: ...
    @property
    def min_nodes(self) -> int: ...
    @property
    def max_nodes(self) -> int: ...
    @property
    def last_call_timeout(self) -> float: ...
    @property
    def keep_alive_interval(self) -> float: ...
    @property
    def keep_alive_max_attempt(self) -> int: ...
    @property
    def rank_by(self) -> str: ...  # "address", "join", "given" or "topology"
    @property
    def sticky_ranks(self) -> bool: ...  # who was in the last round keeps its rank
    # A node of the last round whose job broke has its place kept until the last call is over.
    @property
    def former_first(self) -> bool: ...
    # Newcomers on the wait list are told when none came for so long; 0: at once.
    @property
    def debounce(self) -> float: ...
    # The size of a round is a multiple of this; with "topology", of each key.
    @property
    def segment(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...

@final
class NodeFacts:
    """The facts of a node that determine its rank."""

    def __init__(self, rank: int | None = None, topology: str = "", attempt: int = 0) -> None: ...
    @property
    def rank(self) -> int | None: ...  # that it was given
    @property
    def topology(self) -> str: ...  # parts with "/" between; empty: it does not say
    @property
    def attempt(self) -> int: ...  # which start of the job it belongs to; 0: it does not say
    def __eq__(self, other: object) -> bool: ...

@final
class Placement:
    """Where a node stands in a group."""

    # "absent", "forming" (participant of a round that is not complete), "active" (participant of
    # the complete round), "done" (was participant of the complete round and has left it), "waiting"
    # (wait list), "spare"
    @property
    def role(self) -> str: ...
    @property
    def rank(self) -> int: ...  # -1 unless active or done

@final
class Group:
    """The rulebook of one run's rendezvous. `now`: seconds of the caller's monotonic clock."""

    def __init__(self) -> None: ...
    # Replace the state by encoded bytes read from a store (None: nothing there yet). What was
    # observed about heartbeats and the last call is kept for what did not change. Raises
    # RendezvousStateError for bytes that are no state.
    def observe(self, state: bytes | None, now: float) -> None: ...
    def encode(self) -> bytes: ...
    # Idempotent. `after_round`: the last round this node took part in, 0 for none: it wants a later
    # one. A participant of the complete round R that joins with after_round == R moves to the wait
    # list. Raises RendezvousStateError when the group was formed with other settings,
    # RendezvousClosedError when closed.
    def join(
        self,
        node: Node,
        settings: GroupSettings,
        after_round: int,
        now: float,
        facts: NodeFacts | None = None,
    ) -> None: ...
    def keep_alive(self, node: Node, now: float) -> None: ...
    # failed=True: the node's job broke; the others are told as for a node that was lost.
    def leave(self, node: Node, failed: bool, now: float) -> None: ...
    # The node is known to be dead: as one that sends no heartbeats.
    def drop(self, node: Node, now: float) -> None: ...
    # The node goes for good: its job broke, and nobody will start it again.
    def give_up(
        self,
        node: Node,
        exit_code: int,
        unix_ms: int,
        last_line: bytes,
        now: float,
        do_not_restart: bool = False,
    ) -> None: ...
    # reason: for the nodes, the first one stays; unix_ms: when, by the caller's wall clock
    def close(self, reason: str = "", unix_ms: int = 0, do_not_restart: bool = False) -> None: ...
    # Opens it again if it was closed more than `ago` seconds before, and nobody is in it.
    def forget_close(self, unix_ms: int, ago: float) -> bool: ...
    # Remove the dead, end the last call, complete and start rounds. Called before any decision.
    def expire(self, now: float) -> None: ...
    def next_deadline(self) -> float | None: ...
    def placement(self, node: Node) -> Placement: ...
    # What `num_nodes_waiting` means for a node that took part in `round`: nodes on the wait list
    # plus participants lost since the round completed; at least 1 if the node is no longer an
    # active participant of that round.
    def membership_changes(self, node: Node, round: int) -> int: ...
    @property
    def changes(self) -> int: ...  # membership_changes of a node that takes part in the round
    # when nodes on the wait list are counted as changes; None: they are, or nobody waits
    @property
    def newcomers_due(self) -> float | None: ...
    @property
    def round(self) -> int: ...  # from 1; the round that is forming, or complete
    @property
    def complete(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def close_reason(self) -> str: ...
    @property
    def failed(self) -> bool: ...  # for good: do not restart
    @property
    def failure(self) -> str: ...  # why
    @property
    def attempt(self) -> int: ...  # the latest that a node brought; 0: none did
    # the last round that every participant left as done; 0: none
    @property
    def finished_round(self) -> int: ...
    @property
    def world_size(self) -> int: ...  # of the complete round, lost nodes included; 0 while forming
    @property
    def settings(self) -> GroupSettings | None: ...
    def node_at(self, rank: int) -> Node | None: ...  # in the complete round; None: it has left
    # those in the forming round; those active in the complete one, by rank
    @property
    def participants(self) -> list[Node]: ...
    @property
    def waiting(self) -> list[Node]: ...
    @property
    def spares(self) -> list[Node]: ...
    # since the last round completed; at most 1,024 are remembered
    @property
    def lost(self) -> list[Node]: ...
    @property
    def gave_up(self) -> int: ...  # how many of the lost did so for good
    # which node gave up first since the last round completed, and why; empty: none did
    @property
    def cause(self) -> str: ...
    # the round after which too few nodes were left because nodes gave up; 0: that is not so
    @property
    def failed_round(self) -> int: ...
    def beats(self, node: Node) -> int | None: ...  # moves with each heartbeat; None: not listed
    def last_call_left(self, now: float) -> float | None: ...  # None: no last call is running

@final
class RunJoined:
    """The outcome of a join. Without a place all but outcome and round is 0."""

    # "finished": the job whose next round the node waited for is over, and `round` was its last;
    # "dropped": it was taken for dead, or left; "timeout": it is listed no more; "spare" and
    # "no spare": it is, or is no more, and joins again as such
    @property
    def outcome(
        self,
    ) -> Literal["placed", "finished", "dropped", "timeout", "spare", "no spare"]: ...
    @property
    def round(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def first(self) -> Node: ...  # with rank 0; ValueError without a place
    @property
    def before(self) -> Node | None: ...  # of the rank before, in a ring; None: it has left
    @property
    def after(self) -> Node | None: ...
    @property
    def waiting(self) -> int: ...
    @property
    def spares(self) -> int: ...
    @property
    def changes(self) -> int: ...  # as Group.membership_changes

@final
class RunKeptAlive:
    @property
    def known(self) -> bool: ...  # whether this connection's node is listed
    @property
    def changes(self) -> int: ...
    @property
    def closed(self) -> bool: ...

@final
class RunNews:
    @property
    def active(self) -> bool: ...  # whether the node takes part in the round it asked about
    @property
    def changes(self) -> int: ...
    @property
    def closed(self) -> bool: ...

@final
class RunResumed:
    @property
    def taken(self) -> bool: ...  # whether the node has its place; else it has to join
    @property
    def changes(self) -> int: ...
    @property
    def closed(self) -> bool: ...

@final
class RunStatus:
    """A run at one moment. Counts of nodes, not the nodes."""

    @property
    def known(self) -> bool: ...  # whether the server keeps such a run
    @property
    def round(self) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def finished_round(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def settings(self) -> GroupSettings | None: ...  # None before the first node has joined
    @property
    def participants(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def spares(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def last_call_left(self) -> float | None: ...
    @property
    def role(self) -> str: ...  # as Placement.role, of this client's node
    @property
    def rank(self) -> int: ...
    @property
    def changes(self) -> int: ...
    @property
    def suspects(self) -> int: ...  # whose connection broke, and may come back
    @property
    def gave_up(self) -> int: ...  # of the lost
    @property
    def failed(self) -> bool: ...  # too few nodes are left because nodes gave up
    @property
    def cause(self) -> str: ...  # which node gave up first, and why; empty: none did
    @property
    def close_reason(self) -> str: ...  # empty: it is open, or nobody said
    @property
    def reached_at(self) -> str: ...  # by a node on another machine; empty: none did

# One dial to a native server, greeted, for a client that waits otherwise (rendezvous.aio).
@final
class _Dial:
    def __init__(
        self,
        host: str,
        port: int,
        session: bytes,
        *,
        token: _Token | None = None,
        tls_cert: _File | None = None,
        tls_key: _File | None = None,
        tls_ca: _File | None = None,
        tls_name: str | None = None,
        tls: bool = False,
    ) -> None: ...
    # Dials until the timeout: the descriptor, which is the caller's, and what the server said.
    def run(self, timeout: _Timeout) -> tuple[int, bytes]: ...
    # Once, after run(): its TLS, for who goes on with the connection; None: plain bytes.
    def take_secured(self) -> object: ...
    def cancel(self) -> None: ...
    def raise_out_of_time(self, waited: _Timeout) -> NoReturn: ...
    # Whether an attempt has failed.
    @property
    def has_failed(self) -> bool: ...
    # Whether another attempt may succeed.
    @property
    def may_work_later(self) -> bool: ...

# Keeps a descriptor out of forked children for as long as this object lives. Drop it before the
# descriptor is closed.
@final
class _LentFd:
    def __init__(self, fd: int) -> None: ...

@final
class RunClient:
    """One node's access to a run that the store's server keeps, on its own connection.

    Times in seconds. Calls raise within theirs: StoreTimeoutError, StoreConnectionError
    (StoreRestartedError, once, when the server came back without what it had),
    RendezvousClosedError, RendezvousStateError, StoreUnsupportedError.
    """

    # grace: how long the node counts as alive after its connection breaks.
    def __init__(
        self,
        store: TCPStore,
        run_id: str,
        node: Node,
        settings: GroupSettings,
        grace: _Timeout,
        facts: NodeFacts | None = None,
    ) -> None: ...
    # Waits for a complete round later than `after_round` with this node. Keep-alives have to be
    # sent meanwhile. is_spare: what the node knows of itself; the call ends when that changes, and
    # the timeout of a spare leaves it listed.
    def join(self, after_round: int, timeout: _Timeout, is_spare: bool = False) -> RunJoined: ...
    def leave(self, failed: bool, timeout: _Timeout) -> bool: ...  # whether it was listed
    # Of each address, whether a connection from there is there, was, or never was.
    def hosts(
        self, addresses: list[str], timeout: _Timeout
    ) -> list[Literal["is", "was", "never"]]: ...
    def give_up(
        self,
        exit_code: int,
        unix_ms: int,
        last_line: bytes,
        timeout: _Timeout,
        do_not_restart: bool = False,
    ) -> str: ...
    def keep_alive(self, timeout: _Timeout) -> RunKeptAlive: ...
    def close_run(
        self, timeout: _Timeout, reason: str = "", do_not_restart: bool = False
    ) -> None: ...
    def status(self, timeout: _Timeout) -> RunStatus: ...
    # Waits until something differs from what is known; at the timeout, what is.
    def subscribe(
        self, round: int, known_changes: int, known_closed: bool, timeout: _Timeout
    ) -> RunNews: ...
    # Waits until who is in the run is not what is known by its version; at the timeout, what is.
    def follow(
        self, known_version: int, timeout: _Timeout
    ) -> tuple[int, RunStatus, list[tuple[Node, Literal["left", "lost", "failed", "gave_up"]]]]: ...
    # Of each: its rank (-1: none, or the round forms), the node, and how many seconds ago the
    # server heard it (None: it watches no heartbeats of the node).
    def members(
        self,
        which: Literal["participants", "waiting", "spares", "lost"],
        timeout: _Timeout,
        limit: int | None = None,
    ) -> list[tuple[int, Node, float | None]]: ...
    # Whether the run is known, the server's monotonic time, the number of the next event, and of
    # each event its number, time, kind, round, nodes of the round, duration, node and text.
    def timeline(
        self, run_id: str, first: int, timeout: _Timeout
    ) -> tuple[
        bool, float, int, list[tuple[int, float, str, int, int, float, Node | None, str]]
    ]: ...
    # Takes the node's place again, on this connection, or in a server that knows nothing.
    def resume(self, round: int, rank: int, world_size: int, timeout: _Timeout) -> RunResumed: ...
    def close(self) -> None: ...
