"""What the command of `exec` learns through its environment. Pure: builds a dictionary.

The same table is in docs/cli.md and in the help of `exec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rendezvous._base.endpoint import format_endpoint
from rendezvous.cli.options import RUN_ID_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rendezvous._base.api import RendezvousInfo
    from rendezvous.cli.run.ranks import Ranks


# torch workers look at these to decide whether rank 0 of theirs must serve the store at
# MASTER_ADDR:MASTER_PORT, or whether it is served already and all are clients.
_TORCH_AGENT_STORE = (
    "TORCHELASTIC_USE_AGENT_STORE",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
)
# Of a launcher around us, whose torchrun or jax would not be the one that we start.
_OF_ONE_ROUND = (
    "PET_NNODES",
    "PET_NODE_RANK",
    "PET_MASTER_ADDR",
    "PET_MASTER_PORT",
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)
# No command has the descriptor that it names.
_NOT_PASSED_ON = "RENDEZVOUS_TOKEN_FD"
# Says to jax that there are Open MPI's variables, and would be where mpirun listens.
_OPEN_MPI = "OMPI_MCA_orte_hnp_uri"


@dataclass(frozen=True)
class Local:
    """The place of a process among those of its machine."""

    rank: int
    size: int


@dataclass(frozen=True)
class Told:
    """What the commands of one node in one round are told.

    Attributes:
        base: the environment of `exec`.
        info: the round.
        ranks: of this node's processes.
        run_id: names the job.
        endpoint: of the store, as text; empty: not told.
        bootstrap_store: whether a store is served at MASTER_ADDR:MASTER_PORT; otherwise that port
            is free for rank 0's command, and torch is not told to be a client even if an outer
            launcher had said so.
        restarts_max: how often a command that fails is started again.
        mpi_env: whether to set Open MPI's variables, too.
        gpus: of this node.
        beside: what a workload manager says, which started several `exec` on this machine, of this
            one; None: nothing.
    """

    base: Mapping[str, str]
    info: RendezvousInfo
    ranks: Ranks
    run_id: str
    endpoint: str
    bootstrap_store: bool
    restarts_max: int = 0
    beside: Local | None = None
    mpi_env: bool = False
    gpus: int = 0


def command_environment(told: Told, local_rank: int) -> dict[str, str]:
    """The environment of one of the node's processes."""
    info, ranks = told.info, told.ranks
    left_out = (*_TORCH_AGENT_STORE, *_OF_ONE_ROUND, _NOT_PASSED_ON)
    environment = {key: value for key, value in told.base.items() if key not in left_out}
    node, nodes = str(info.rank), str(info.world_size)
    rank, total = str(ranks.first + local_rank), str(ranks.total)
    where = info.bootstrap_store_info
    local = Local(local_rank, ranks.count)
    if told.beside is not None and ranks.count == 1:
        local = told.beside
    environment |= {
        "RANK": rank,
        "WORLD_SIZE": total,
        "LOCAL_RANK": str(local.rank),
        "LOCAL_WORLD_SIZE": str(local.size),
        "NODE_RANK": node,
        "NNODES": nodes,
        "GROUP_RANK": node,
        "GROUP_WORLD_SIZE": nodes,
        "ROLE_NAME": "default",
        "ROLE_RANK": rank,
        "ROLE_WORLD_SIZE": total,
        "MASTER_ADDR": where.master_addr,
        "MASTER_PORT": str(where.master_port),
        RUN_ID_VARIABLE: told.run_id,
        "RENDEZVOUS_ROUND": str(info.round),
    }
    if told.endpoint:
        environment["RENDEZVOUS_ENDPOINT"] = told.endpoint
    if told.bootstrap_store:
        # Older versions of torch put the count into their keys: it must be the same on all nodes,
        # and a node that joined late has restarted nothing, so the round stands for it.
        values = ("True", told.run_id, str(info.round - 1), str(told.restarts_max))
        environment |= dict(zip(_TORCH_AGENT_STORE, values, strict=True))
    if ranks.count == 1:
        # Defaults of torchrun's options, for one that starts this node's workers.
        environment |= {
            "PET_NNODES": nodes,
            "PET_NODE_RANK": node,
            "PET_MASTER_ADDR": where.master_addr,
            "PET_MASTER_PORT": str(where.master_port),
        }
    else:
        # As torchrun does: each process would use all processors.
        environment.setdefault("OMP_NUM_THREADS", "1")
    if ranks.port:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": format_endpoint(where.master_addr, ranks.port),
            "JAX_NUM_PROCESSES": total,
            "JAX_PROCESS_ID": rank,
        }
    if told.mpi_env:
        environment |= {
            _OPEN_MPI: "0.0;tcp://127.0.0.1:1",
            "OMPI_COMM_WORLD_RANK": rank,
            "OMPI_COMM_WORLD_SIZE": total,
            "OMPI_COMM_WORLD_LOCAL_RANK": str(local.rank),
            "OMPI_COMM_WORLD_LOCAL_SIZE": str(local.size),
        }
        if local.size == 1 and told.gpus:
            # For jax, each process of Open MPI's has one device, unless this is said.
            devices = ",".join(map(str, range(told.gpus)))
            environment.setdefault("JAX_LOCAL_DEVICE_IDS", devices)
    return environment
