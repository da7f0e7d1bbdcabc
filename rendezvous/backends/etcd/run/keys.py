"""What a run on etcd has written where, and in which form. Pure.

Below PREFIX/runs/RUN/:

in/nodes/NODE            what a node wants: to take part, or to go (Wish); ends with its lease
in/closed                somebody closed the run
watched/leader           the node that runs the rulebook; its revision is the fencing token
watched/round            what every node has to know (Summary)
kept/state/SEQUENCE/N    the encoded group, from which the next leader goes on; in pieces
kept/seats/ROUND/PAGE    who has which rank; a node reads its own page only
kept/refused/NODE        why a node was turned away

Each part is one range of keys: leaders watch `in/`, nodes watch `watched/`.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from rendezvous import _core
from rendezvous._base.errors import RendezvousStateError
from rendezvous._coordination.coordinator import Closure
from rendezvous.backends.etcd.client.wire import prefix_end

__all__ = [
    "MARKER",
    "RunKeys",
    "Summary",
    "Wish",
    "closed_value",
    "closure_in",
    "leader_name",
    "leader_value",
    "node_name",
    "node_of",
    "page_of",
    "rank_on",
    "seat_pages",
    "state_of",
    "state_pieces",
]

# At the key where compare-and-set has the state, so that the two ways never mix unnoticed.
MARKER = _core.RUN_MARKER.encode()

_PAGE_NODES = 192
# What a node brings along.
_SETTINGS = (
    "min_nodes",
    "max_nodes",
    "last_call_timeout",
    "keep_alive_interval",
    "keep_alive_max_attempt",
    "rank_by",
    "sticky_ranks",
    "former_first",
    "debounce",
    "segment",
)
_FACTS = ("rank", "topology", "attempt")
# With the keys and base64's third, well below what etcd takes in one request.
_PIECE_BYTES = 512 * 1024


class RunKeys:
    """The names of one run."""

    def __init__(self, key_prefix: str, run_id: str) -> None:
        prefix = key_prefix.rstrip("/")
        self.run_id = run_id
        self.blob_text = f"{prefix}/{run_id}"
        self.blob = self.blob_text.encode()
        base = f"{prefix}/runs/{quote(run_id, safe='')}/".encode()
        self._nodes = base + b"in/nodes/"
        self._seats = base + b"kept/seats/"
        self._states = base + b"kept/state/"
        self._refused = base + b"kept/refused/"
        self.closed = base + b"in/closed"
        self.leader = base + b"watched/leader"
        self.round = base + b"watched/round"
        self.everything = _whole(base)
        self.inbox = _whole(base + b"in/")
        self.watched = _whole(base + b"watched/")
        self.nodes = _whole(self._nodes)

    def node(self, name: str) -> bytes:
        return self._nodes + name.encode()

    def name_of(self, key: bytes) -> str | None:
        """The node of a key in the inbox; None for another key."""
        return key[len(self._nodes) :].decode() if key.startswith(self._nodes) else None

    def seats(self, round_number: int, page: int) -> bytes:
        return self._seats + b"%020d/%06d" % (round_number, page)

    def seats_before(self, round_number: int) -> tuple[bytes, bytes]:
        """The range of all earlier rounds' seats."""
        return self._seats, self._seats + b"%020d" % round_number

    def state(self, sequence: int, piece: int) -> bytes:
        return self._states + b"%020d/%06d" % (sequence, piece)

    def states_before(self, sequence: int) -> tuple[bytes, bytes]:
        return self._states, self._states + b"%020d" % sequence

    def refused(self, name: str) -> bytes:
        return self._refused + name.encode()


@dataclass(frozen=True)
class Wish:
    """What a node's key says.

    Attributes:
        kind: `join`, `left`, `failed` or `gave up`.
        nonce: tells writes apart.
        settings, facts: of who joins: what _core.GroupSettings and NodeFacts are made of.
        ending: of a node that gave up: exit code, time, and last line, one character a byte.
        do_not_restart: it said so.
    """

    kind: str
    nonce: str
    after_round: int = 0
    settings: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None
    ending: tuple[int, int, str] | None = None
    do_not_restart: bool = False

    @staticmethod
    def to_join(
        after_round: int, settings: _core.GroupSettings, facts: _core.NodeFacts, nonce: str
    ) -> "Wish":
        agreed = {name: getattr(settings, name) for name in _SETTINGS}
        own = {name: getattr(facts, name) for name in _FACTS}
        return Wish("join", nonce, after_round, agreed, own)

    def encode(self) -> bytes:
        return _json(asdict(self))

    @staticmethod
    def decode(data: bytes) -> "Wish":
        """Raises RendezvousStateError."""
        fields = _fields(data, "a node's wish")
        try:
            settings, ending = fields.get("settings"), fields.get("ending")
            facts = fields.get("facts")
            return Wish(
                str(fields["kind"]),
                str(fields["nonce"]),
                int(fields["after_round"]),
                None if settings is None else dict(settings),
                None if facts is None else dict(facts),
                None if ending is None else tuple(ending),
                bool(fields.get("do_not_restart")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _broken("a node's wish", error) from error


@dataclass(frozen=True)
class Summary:
    """What the leader publishes: small, as every node gets it.

    Attributes:
        sequence: counts the publications.
        applied: all that nodes wrote up to this revision is taken into account.
        placed_round, placed_world, placed_first, pages: the last round that was complete, also when
            the next one forms already; of its seats there are so many pages.
        finished_round, finished_at: the last round that ended as a job ends, and by which revision.
        failed_at: by which revision too few nodes were left because nodes gave up; cause: why.
        refused_at: the revision of the last wish that was refused.
        changes: what a running round is to know of the wait list and losses.
        active: participants that still are; nodes: all that are listed.
    """

    sequence: int = 0
    applied: int = 0
    round: int = 1
    complete: bool = False
    closed: bool = False
    close_reason: str = ""
    do_not_restart: bool = False
    placed_round: int = 0
    placed_world: int = 0
    placed_first: tuple[str, int, int] | None = None
    pages: int = 0
    finished_round: int = 0
    finished_at: int = 0
    refused_at: int = 0
    failed_round: int = 0
    failed_at: int = 0
    cause: str = ""
    active: int = 0
    waiting: int = 0
    spares: int = 0
    lost: int = 0
    changes: int = 0
    last_call: float | None = None
    pieces: int = field(default=0)

    @property
    def nodes(self) -> int:
        return self.active + self.waiting + self.spares

    def encode(self) -> bytes:
        return _json(asdict(self))

    @staticmethod
    def decode(data: bytes) -> "Summary":
        """Raises RendezvousStateError."""
        fields = _fields(data, "the summary of the round")
        try:
            first = fields.pop("placed_first")
            return Summary(**fields, placed_first=None if first is None else tuple(first))
        except (KeyError, TypeError) as error:
            raise _broken("the summary of the round", error) from error


def node_name(node: _core.Node) -> str:
    """As part of a key."""
    return f"{node.pid}.{node.local_id}.{quote(node.addr, safe='')}"


def node_of(name: str) -> _core.Node:
    """What `node_name` was given. Raises RendezvousStateError."""
    try:
        pid, local_id, addr = name.split(".", 2)
        return _core.Node(unquote(addr), int(pid), int(local_id))
    except ValueError as error:
        raise _broken(f"the node {name!r}", error) from error


def leader_value(name: str, nonce: str) -> bytes:
    """What the node that leads has written at the leader's key."""
    return f"{name} {nonce}".encode()


def leader_name(value: bytes) -> str:
    """Which node wrote that."""
    return value.decode("utf-8", "replace").partition(" ")[0]


def closed_value(closure: Closure) -> bytes:
    """What who closes the run writes."""
    how = "failed" if closure.do_not_restart else "closed"
    return f"{how} {closure.reason}".encode("utf-8", "replace")


def closure_in(value: bytes) -> Closure:
    """What `closed_value` was given."""
    how, _, reason = value.decode("utf-8", "replace").partition(" ")
    return Closure(reason, how == "failed")


def page_of(name: str, pages: int) -> int:
    """On which page of a round's seats a node is."""
    return zlib.crc32(name.encode()) % pages


def seat_pages(nodes: Sequence[_core.Node]) -> list[bytes]:
    """The seats of a round whose nodes are given by rank."""
    count = -(-len(nodes) // _PAGE_NODES)
    pages: list[dict[str, list[Any]]] = [{} for _ in range(count)]
    names = [node_name(node) for node in nodes]
    for rank, name in enumerate(names):
        after = names[(rank + 1) % len(names)]
        pages[page_of(name, count)][name] = [rank, names[rank - 1], after]
    return [zlib.compress(_json(page), 1) for page in pages]


def rank_on(page: bytes, name: str) -> tuple[int, _core.Node, _core.Node] | None:
    """A node's rank, and the nodes of the rank before and the one after, in a ring.

    None: it has none in that round. Raises RendezvousStateError.
    """
    try:
        found = _fields(zlib.decompress(page), "a page of seats").get(name)
        if found is None:
            return None
        rank, before, after = found
        return int(rank), node_of(before), node_of(after)
    except (zlib.error, TypeError, ValueError) as error:
        raise _broken("a page of seats", error) from error


def state_pieces(state: bytes) -> list[bytes]:
    """The group, ready to be written."""
    packed = zlib.compress(state, 1)
    return [packed[i : i + _PIECE_BYTES] for i in range(0, len(packed), _PIECE_BYTES)]


def state_of(pieces: Iterable[bytes]) -> bytes:
    """What `state_pieces` was given. Raises RendezvousStateError."""
    try:
        return zlib.decompress(b"".join(pieces))
    except zlib.error as error:
        raise _broken("the state of the group", error) from error


def _whole(prefix: bytes) -> tuple[bytes, bytes]:
    return prefix, prefix_end(prefix)


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _fields(data: bytes, what: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise _broken(what, error) from error
    if not isinstance(fields, dict):
        raise _broken(what, None)
    return fields


def _broken(what: str, error: Exception | None) -> RendezvousStateError:
    return RendezvousStateError(
        f"{what} in etcd was not written by this version ({error}); use another run id or key "
        "prefix, or delete the run's keys"
    )
