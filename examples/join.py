"""A launcher of one's own in a few lines: run it on each node, with the same endpoint.

    python examples/join.py node0:29400 2:4

Each node meets the others, does its part, and meets them again whenever somebody comes or goes.
"""

import sys

import rendezvous


def main(endpoint: str, nodes: str = "1") -> None:
    """Work in rounds until the work is done."""
    low, _, high = nodes.partition(":")
    with rendezvous.join(endpoint, (int(low), int(high or low))) as world:
        while True:
            print(
                f"round {world.round}: rank {world.rank} of {world.size},"
                f" rank 0 is at {world.master_addr}:{world.master_port}",
                flush=True,
            )
            if work(world):
                return
            world.next_round()


def work(world: rendezvous.World) -> bool:
    """One round's; True when all of it is done. Here: each node adds 1 for each of ten steps."""
    for step in range(10):
        world.store.add("sum", 1)
        world.store.set(f"{world.rank}/{step}", "done")
        if world.changed.wait(0.05):
            return False
    # Nobody leaves before all are done: the others would miss what it has stored. But who is lost
    # will never be.
    last_steps = [f"{rank}/9" for rank in range(world.size)]
    while not world.store.check(last_steps):
        if world.changed.wait(0.05):
            return False
    print(f"sum: {world.store.add('sum', 0)}", flush=True)
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
