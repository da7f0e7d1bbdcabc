"""Who came, who went and who is missing in all runs of one server, a line for each change.

    python examples/controller.py node0:29400 job-1 job-2 ...

One task, one connection. What a controller of your own would do (start nodes that are missing, tell
an operator) stands where this one prints. It goes on over broken connections and new servers.
With --until-done it ends when each run's job has finished or its run is closed.
"""

import argparse
import asyncio
from contextlib import suppress

from rendezvous.aio import RunChange, follow


def tell(run: RunChange) -> None:
    """Print what is new in one run."""
    for member in run.came:
        place = "" if member.rank is None else f", rank {member.rank} of {run.world_size}"
        print(f"{run.run_id}: {member.address}:{member.pid} came as {member.role}{place}")
    for gone in run.went:
        print(f"{run.run_id}: {gone.member.address}:{gone.member.pid} {gone.how}")
    if run.missing:
        print(f"{run.run_id}: {run.missing} of {run.min_nodes} nodes missing in round {run.round}")
    elif run.complete and not run.went:
        print(
            f"{run.run_id}: round {run.round} is complete with {run.world_size} nodes", flush=True
        )


def is_done(run: RunChange) -> bool:
    """Nothing more is to come: the job has finished, or the run was closed."""
    return (run.closed or run.finished_round > 0) and not run.members


async def control(server: str, run_ids: list[str], until_done: bool) -> None:
    """Follow the runs until all are done, or until cancelled."""
    done: list[str] = []
    async with follow(server, *run_ids) as changes:
        print(f"following {len(changes.run_ids)} runs at {server}", flush=True)
        async for run in changes:
            tell(run)
            if until_done and is_done(run):
                done.append(run.run_id)
                changes.drop(run.run_id)
                if not changes.run_ids:
                    break
    print(f"{len(done)} runs are done")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", help="host[:port] of a `rendezvous serve`")
    parser.add_argument("run_ids", nargs="+", metavar="run_id")
    parser.add_argument("--until-done", action="store_true")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(control(options.server, options.run_ids, options.until_done))


if __name__ == "__main__":
    main()
