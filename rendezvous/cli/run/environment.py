"""What the command of `exec` learns through its environment. Pure: builds a dictionary.

The same table is in docs/cli.md and in the help of `exec`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rendezvous._base.api import RendezvousInfo

RUN_ID_VARIABLE = "RENDEZVOUS_RUN_ID"

# torch workers look at these to decide whether rank 0 of theirs must serve the store at
# MASTER_ADDR:MASTER_PORT, or whether it is served already and all are clients.
_TORCH_AGENT_STORE = (
    "TORCHELASTIC_USE_AGENT_STORE",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
)


def command_environment(
    base: Mapping[str, str],
    info: RendezvousInfo,
    *,
    run_id: str,
    endpoint: str,
    bootstrap_store: bool,
) -> dict[str, str]:
    """`base` and what the round decided, for the command of one node in one round.

    Args:
        base: the environment of `exec`.
        info: the round.
        run_id: names the job.
        endpoint: of the store, as text; empty: not told.
        bootstrap_store: whether a store is served at MASTER_ADDR:MASTER_PORT; otherwise that port
            is free for rank 0's command, and torch is not told to be a client even if an outer
            launcher had said so.
    """
    environment = {key: value for key, value in base.items() if key not in _TORCH_AGENT_STORE}
    environment |= {
        "RANK": str(info.rank),
        "WORLD_SIZE": str(info.world_size),
        "NODE_RANK": str(info.rank),
        "NNODES": str(info.world_size),
        "MASTER_ADDR": info.bootstrap_store_info.master_addr,
        "MASTER_PORT": str(info.bootstrap_store_info.master_port),
        RUN_ID_VARIABLE: run_id,
        "RENDEZVOUS_ROUND": str(info.round),
    }
    if endpoint:
        environment["RENDEZVOUS_ENDPOINT"] = endpoint
    if bootstrap_store:
        # Older versions of torch put the count into their keys: it must be the same on all nodes,
        # and a node that joined late has restarted nothing, so the round stands for it.
        values = ("True", run_id, str(info.round - 1))
        environment |= dict(zip(_TORCH_AGENT_STORE, values, strict=True))
    return environment
