"""How the nodes of a run get their places and ranks: options beyond torch's. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rendezvous import _core
from rendezvous._base.api import RendezvousParameters

__all__ = ["RULES_SETTINGS", "RendezvousRules", "read_rules"]

# What a configuration may say of them.
RULES_SETTINGS = (
    "rank_by",
    "sticky_ranks",
    "former_first",
    "debounce",
    "segment",
    "rank",
    "topology",
    "attempt",
    "expect",
)


@dataclass(frozen=True)
class RendezvousRules:
    """Rules of a run that torch elastic does not have, and this node's own part of them.

    All nodes must bring the same `rank_by`, `sticky_ranks`, `former_first`, `debounce` and
    `segment`.

    Attributes:
        rank_by: by what the nodes of a round get their ranks. `address`: the natural order of their
            addresses (host2 before host10). `join`: the order in which they joined. `given`: each
            node brings its rank. `topology`: each node brings a key; nodes with the same key get
            ranks next to each other, in the natural order of the keys.
        sticky_ranks: whether a node that was in the last round keeps its rank in the next one, and
            who replaces a lost node gets that node's rank. If a round is smaller, ranks beyond its
            size move to free ones. With `topology`, ranks stay while nodes of one key stay
            neighbours.
        former_first: whether former members keep their places against nodes that come first. The
            place of a node of the last round whose work failed is kept for it until the last call
            of the next round is over. If more than max_nodes come while a round forms, nodes of the
            last round are taken first.
        debounce: a running round is told of nodes that came to wait once no other one has come for
            so many seconds, at most 10 times that after the first: many that come one after another
            cause one new round. 0: at once. A lost node is always told at once.
        segment: a round has a multiple of so many nodes; with `topology`, whole segments of nodes
            with the same key. Nodes that make no whole segment are spares. The nodes of a segment
            come and go together.
        rank: with `given`. Default: found in SLURM_PROCID, JOB_COMPLETION_INDEX or
            OMPI_COMM_WORLD_RANK.
        topology: with `topology`: the key itself, in parts with `/` between, for example
            `switch1/rack2`; or `env:NAME`, an environment variable that holds it; or `file:PATH`.
            Default: SLURM's, SLURM_TOPOLOGY_ADDR.
        attempt: which start of the whole job this node belongs to. A later attempt displaces the
            nodes of an earlier one that are left over: the run begins anew, and what comes of the
            earlier one is refused. A number, or `auto`: SLURM_RESTART_COUNT. Default: it plays no
            part.
        expect: which nodes shall come: the log of a node that waits and the error at its timeout
            name those that are missing, and how far each one got. Names or addresses, as a list or
            with commas between (`node[01-04]` is short for four), a number, `file:PATH` with a name
            a line, or `slurm`, the nodes of the job. It changes nothing about rounds.
    """

    rank_by: str = "address"
    sticky_ranks: bool = True
    former_first: bool = True
    debounce: float = 1.0
    segment: int = 1
    rank: int | None = None
    topology: str | None = None
    attempt: int | str | None = None
    expect: str | int | Sequence[str] | None = None

    def group_settings(
        self,
        min_nodes: int,
        max_nodes: int,
        last_call_s: float,
        keep_alive_interval_s: float,
        keep_alive_max_attempt: int,
    ) -> _core.GroupSettings:
        """What all nodes of the run must agree on. Raises ValueError."""
        return _core.GroupSettings(
            min_nodes,
            max_nodes,
            last_call_s,
            keep_alive_interval_s,
            keep_alive_max_attempt,
            rank_by=self.rank_by,
            sticky_ranks=self.sticky_ranks,
            former_first=self.former_first,
            debounce=self.debounce,
            segment=self.segment,
        )


def read_rules(params: RendezvousParameters) -> RendezvousRules:
    """From a configuration. Raises ValueError that names the key."""
    defaults = RendezvousRules()
    segment = params.get_as_int("segment", defaults.segment)
    topology = params.get("topology")
    return RendezvousRules(
        rank_by=str(params.get("rank_by", defaults.rank_by)),
        sticky_ranks=_flag(params, "sticky_ranks"),
        former_first=_flag(params, "former_first"),
        debounce=_debounce(params),
        segment=defaults.segment if segment is None else segment,
        rank=params.get_as_int("rank"),
        attempt=params.get("attempt"),
        expect=params.get("expect"),
        topology=None if topology is None else str(topology),
    )


def _flag(params: RendezvousParameters, key: str) -> bool:
    value = params.get_as_bool(key, None)
    return bool(getattr(RendezvousRules(), key)) if value is None else value


def _debounce(params: RendezvousParameters) -> float:
    value = params.get("debounce", RendezvousRules.debounce)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"debounce is {value!r}, not a number of seconds") from None
