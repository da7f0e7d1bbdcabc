"""Plain jax.distributed under `rendezvous exec --mpi-env`: sums the ranks of all processes.

Without --mpi-env, jax takes only the coordinator's address from the environment, so the script says
the rest: initialize(num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
process_id=int(os.environ["JAX_PROCESS_ID"])).
"""

import jax
import jax.numpy as jnp
from jax.experimental.multihost_utils import process_allgather


def main() -> None:
    """Meet the others, and sum."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize()
    ranks = process_allgather(jnp.array([jax.process_index()]))
    print(
        f"rank {jax.process_index()} of {jax.process_count()}:"
        f" the sum of all ranks is {int(ranks.sum())}",
        flush=True,
    )
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
