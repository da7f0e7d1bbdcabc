"""A training script as torchrun, accelerate, DeepSpeed and `rendezvous exec` start it: it takes all
that it needs from the environment, and imports nothing of ours.

It sums the ranks of all processes with torch and gloo, so it needs no GPU.
"""

import os

import torch
import torch.distributed as dist


def main() -> None:
    """Meet the others, and sum."""
    dist.init_process_group("gloo")
    total = torch.tensor([dist.get_rank()])
    dist.all_reduce(total)
    print(
        f"rank {dist.get_rank()} of {dist.get_world_size()}"
        f" (local {os.environ['LOCAL_RANK']} of {os.environ['LOCAL_WORLD_SIZE']},"
        f" node {os.environ['GROUP_RANK']}): the sum of all ranks is {total.item()}",
        flush=True,
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
