"""torch's process groups over our server: through torch's own client, and through our view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.process_groups import Ended, Ranks, ranks

from rendezvous import Server

pytest.importorskip("torch.distributed", reason="needs torch")

MAKE = {
    "torch's client": 'dist.TCPStore("127.0.0.1", port, is_master=False)',
    "our view": (
        '__import__("rendezvous.torch").torch.as_torch_store('
        '__import__("rendezvous").TCPStore("127.0.0.1", port))'
    ),
}

# Nobody leaves while another rank needs it. The group is not destroyed: with DDP's threads, torch
# 2.13 hangs in that once in ten times, with its own store as well.
END = """
store.set(f"passed/{rank}", "")
store.wait([f"passed/{each}" for each in range(world)])
"""

Play = Callable[..., list[Ended]]


@pytest.fixture(scope="module")
def forked() -> Iterator[Ranks]:
    with ranks() as made:
        yield made


@pytest.fixture(params=list(MAKE))
def play(request: pytest.FixtureRequest, forked: Ranks) -> Play:
    """Plays a program in a world that has been initialised; returns how its ranks ended."""

    def run(do: str, world: int, **names: object) -> list[Ended]:
        begin = (
            f"store = {MAKE[request.param]}\n"
            'dist.init_process_group("gloo", store=store, rank=rank, world_size=world)\n'
        )
        with Server() as server:
            return forked.play(begin + do + END, world, port=server.port, **names)

    return run


def assert_well(ended: list[Ended]) -> None:
    assert [each.code for each in ended] == [0] * len(ended), [each.output for each in ended]


@pytest.mark.parametrize("world", [2, 8])
def test_collectives_and_many_groups(play: Play, world: int) -> None:
    """all_reduce, fifty new groups, broadcast of objects, barriers."""
    do = """
ones = torch.ones(1)
dist.all_reduce(ones)
assert ones.item() == world
for number in range(50):
    group = dist.new_group(list(range(world)) if number % 2 else [number % world])
dist.all_reduce(ones, group=group)
assert ones.item() == world * world
said = [f"from {rank}"]
dist.broadcast_object_list(said, src=world - 1)
assert said == [f"from {world - 1}"]
dist.barrier()
"""
    assert_well(play(do, world))


@pytest.mark.parametrize("world", [2, 8])
def test_ddp_averages_gradients(play: Play, world: int) -> None:
    """Every rank has the mean of all."""
    do = """
torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
for _ in range(3):
    model.zero_grad()
    model(torch.full((1, 2), float(rank))).sum().backward()
mean = (world - 1) / 2
assert torch.allclose(model.module.weight.grad, torch.full((1, 2), mean))
dist.barrier()
"""
    assert_well(play(do, world))


@pytest.mark.parametrize("world", [2, 8])
def test_a_monitored_barrier_names_the_missing_rank(play: Play, world: int) -> None:
    """By torch's own means, which are keys and waits."""
    do = """
missing = world - 1
if rank != missing:
    try:
        dist.monitored_barrier(timeout=timedelta(seconds=1), wait_all_ranks=True)
    except RuntimeError as error:
        print(error)
    else:
        raise SystemExit("nobody was missing")
"""
    ended = play(do, world)
    assert_well(ended)
    assert f"Ranks {world - 1} failed to pass" in ended[0].output


@pytest.mark.parametrize("world", [2, 8])
def test_a_distributed_checkpoint_is_saved_and_loaded(
    play: Play, world: int, tmp_path: Path
) -> None:
    """Each rank has its part, in a file of its own, and finds it again."""
    do = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
mesh = init_device_mesh("cpu", (world,))
whole = torch.arange(world * 3.0)
state = {"weights": distribute_tensor(whole, mesh, [Shard(0)]), "step": torch.tensor(7)}
dcp.save(state, checkpoint_id=folder)
again = {"weights": distribute_tensor(whole * 0, mesh, [Shard(0)]), "step": torch.tensor(0)}
dcp.load(again, checkpoint_id=folder)
assert torch.equal(again["weights"].to_local(), torch.arange(rank * 3.0, rank * 3.0 + 3))
assert again["step"].item() == 7
dist.barrier()
"""
    assert_well(play(do, world, folder=str(tmp_path / "checkpoint")))
    assert len(list((tmp_path / "checkpoint").glob("*.distcp"))) == world


@pytest.mark.parametrize("how", list(MAKE))
@pytest.mark.parametrize("world", [2, 8])
def test_rpc(forked: Ranks, how: str, world: int) -> None:
    """Calls between all ranks, and a shutdown that waits for all. RPC takes no store: it asks
    torch's table of ways to meet, to which the test adds one for this store. Over sockets alone:
    through shared memory, torch's RPC has aborted a rank on a busy machine."""
    do = f"""
def handler(url, **_):
    yield ({MAKE[how]}, rank, world)
dist.register_rendezvous_handler("ours", handler)
options = rpc.TensorPipeRpcBackendOptions(
    init_method="ours://", num_worker_threads=2, _transports=["uv"], _channels=["basic"]
)
rpc.init_rpc(f"worker{{rank}}", rank=rank, world_size=world, rpc_backend_options=options)
for other in range(world):
    sum = rpc.rpc_sync(f"worker{{other}}", torch.add, args=(torch.ones(1), rank))
    assert sum.item() == 1 + rank
rpc.shutdown()
"""
    with Server() as server:
        assert_well(forked.play(do, world, port=server.port))
