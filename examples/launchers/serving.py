"""A serving group: each member has a slot, and one that fails is started again into its slot.

    rendezvous token --save                                 once, where they share the home folder
    rendezvous serve --host 0.0.0.0                         on a machine that outlives the members
    python examples/launchers/serving.py node0:29400 2:2    for each member

All members meet, and each serves its slot. When one goes, the others see it, stop and meet again;
they keep their slots, and whoever is started in its place gets the one that is free.
"""

import argparse

import rendezvous


def slot_of(world: rendezvous.World, mine: int | None) -> int:
    """What was mine in the last round stays mine; the others take what is free, by rank."""
    said = world.store.exchange("slots", world.rank, world.size, "" if mine is None else str(mine))
    free = iter(sorted(set(range(world.size)) - {int(slot) for slot in said if slot}))
    return [int(slot) if slot else next(free) for slot in said][world.rank]


def serve(world: rendezvous.World, slot: int) -> None:
    """Until somebody comes or goes."""
    print(f"round {world.round}: serving slot {slot} of {world.size}", flush=True)
    world.changed.wait()


def main() -> None:
    """Serve, and meet again, for good."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint")
    parser.add_argument("nodes", type=lambda text: tuple(map(int, text.split(":"))))
    parser.add_argument("--run-id", default="serving")
    options = parser.parse_args()
    slot: int | None = None
    with rendezvous.join(
        options.endpoint, options.nodes, options.run_id, keep_alive_interval=1
    ) as world:
        while True:
            slot = slot_of(world, slot)
            serve(world, slot)
            world.next_round()


if __name__ == "__main__":
    main()
