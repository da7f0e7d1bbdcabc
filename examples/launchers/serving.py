"""A serving group: each member has a slot, and one that fails is started again into its slot.

    rendezvous serve --host 0.0.0.0                         on a machine that outlives the members
    python examples/launchers/serving.py node0:29400 2:2    for each member

All members meet; each serves with its rank as its slot. When one goes, the others see it, stop and
meet it again; whoever is started in its place gets the rank that is free.
"""

import argparse

import rendezvous


def serve(world: rendezvous.World) -> None:
    """Until somebody comes or goes."""
    world.store.set(f"slot/{world.rank}", f"{world.master_addr}")
    world.store.wait([f"slot/{rank}" for rank in range(world.size)])
    print(f"round {world.round}: serving slot {world.rank} of {world.size}", flush=True)
    world.changed.wait()


def main() -> None:
    """Serve, and meet again, for ever."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint")
    parser.add_argument("nodes", type=lambda text: tuple(map(int, text.split(":"))))
    parser.add_argument("--run-id", default="serving")
    options = parser.parse_args()
    with rendezvous.join(
        options.endpoint, options.nodes, options.run_id, keep_alive_interval=1
    ) as world:
        while True:
            serve(world)
            world.next_round()


if __name__ == "__main__":
    main()
