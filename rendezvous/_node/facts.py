"""What a node brings to its run beside its name: the rank that it was given, and where it stands.

Found in what a launcher has set, where the user says nothing. Reads the environment and files.
"""

import os
from collections.abc import Mapping

from rendezvous import _core
from rendezvous._base.rules import RendezvousRules
from rendezvous._base.text import read_text

__all__ = ["make_facts"]

_RANKS = ("SLURM_PROCID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK")
_SLURM_RESTARTS = "SLURM_RESTART_COUNT"
_SLURM_TOPOLOGY, _SLURM_PATTERN = "SLURM_TOPOLOGY_ADDR", "SLURM_TOPOLOGY_ADDR_PATTERN"
# Beyond it, a file is no key.
_FILE_BYTES_MAX = 4096


def make_facts(
    rules: RendezvousRules, environment: Mapping[str, str] | None = None
) -> _core.NodeFacts:
    """Those that the rules look at. Raises ValueError that says what is missing, or wrong."""
    environment = os.environ if environment is None else environment
    attempt = _attempt(rules, environment)
    if rules.rank_by == "given":
        return _core.NodeFacts(rank=_rank(rules, environment), attempt=attempt)
    if rules.rank_by == "topology":
        return _core.NodeFacts(topology=_topology(rules, environment), attempt=attempt)
    return _core.NodeFacts(attempt=attempt)


def _attempt(rules: RendezvousRules, environment: Mapping[str, str]) -> int:
    """0: it plays no part, or is the first."""
    if rules.attempt is None:
        return 0
    # A first start has none there.
    is_auto = rules.attempt == "auto"
    text = environment.get(_SLURM_RESTARTS, "0") if is_auto else rules.attempt
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        what = _SLURM_RESTARTS if is_auto else "attempt"
        raise ValueError(f"{what} is {text!r}; it must be a number from 0, or attempt=auto")
    return number


def _rank(rules: RendezvousRules, environment: Mapping[str, str]) -> int:
    if rules.rank is not None:
        return rules.rank
    for name in _RANKS:
        text = environment.get(name, "")
        if text:
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"rank_by=given: {name} is {text!r}, not a rank") from None
    raise ValueError(
        "rank_by=given needs this node's rank: give rank=N, or start the nodes by a launcher that "
        f"sets {', '.join(_RANKS[:-1])} or {_RANKS[-1]}"
    )


def _topology(rules: RendezvousRules, environment: Mapping[str, str]) -> str:
    source = rules.topology
    if source is None:
        key = _slurm_key(environment)
        if not key:
            raise ValueError(
                "rank_by=topology needs this node's key: give topology=KEY (for example "
                f"switch1/rack2), env:NAME or file:PATH, or start it under SLURM with "
                f"{_SLURM_TOPOLOGY}"
            )
        return key
    kind, _, where = source.partition(":")
    if kind == "env":
        key = environment.get(where, "")
    elif kind == "file":
        key = read_text("rank_by=topology: topology", where, _FILE_BYTES_MAX)
    else:
        key = source
    key = key.strip()
    if not key:
        raise ValueError(f"rank_by=topology: topology={source}: it is empty")
    return key


def _slurm_key(environment: Mapping[str, str]) -> str:
    """The switches, without the node, which comes last."""
    parts = environment.get(_SLURM_TOPOLOGY, "").split(".")
    pattern = environment.get(_SLURM_PATTERN, "node").split(".")
    if pattern[-1] == "node":
        # A node's name may have dots of its own.
        parts = parts[: max(len(pattern) - 1, 1)] if len(pattern) > 1 else parts[:-1]
    return "/".join(parts)
