"""Process groups that a script makes for itself, at an address of its own, under `exec`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from support.cli import Cli, free_port

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

# The workers' own group, and then another one between them, as docs/cli.md has it.
SCRIPT = """\
import datetime, os, sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
if sys.argv[2] == "alone":
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
rank, size = dist.get_rank(), dist.get_world_size()
stores = dist.rendezvous(f"tcp://127.0.0.1:{sys.argv[1]}", rank, size,
                         timeout=datetime.timedelta(seconds=float(sys.argv[3])))
try:
    store, rank, size = next(stores)
except dist.DistNetworkError as error:
    print("nobody there", flush=True)
else:
    store.set(f"from {rank}", "x")
    store.wait([f"from {each}" for each in range(size)])
    print("met", flush=True)
total = torch.ones(1)
dist.all_reduce(total)
assert total.item() == size
# Without it, a thread of gloo's that wants Python while it ends kills the process, now and then.
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("words", "how", "met"),
    [
        ((), "as it is", False),
        ((), "alone", True),
        (("--no-bootstrap-store",), "as it is", True),
    ],
    ids=["with the agent's store", "the variable taken away", "without a bootstrap store"],
)
def test_a_group_at_an_address_of_its_own(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], how: str, met: bool
) -> None:
    """torch makes all its processes clients, everywhere, as long as the variable is there."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    endpoint, group = f"127.0.0.1:{free_port()}", str(free_port())
    command = ("--", sys.executable, str(script), group, how, "120" if met else "3")
    running = [cli.start_exec(endpoint, "2", *words, *command) for _ in range(2)]
    assert [each.end() for each in running] == [0, 0], [each.stderr for each in running]
    assert [each.stdout.split("\n")[0] for each in running] == [
        "met" if met else "nobody there"
    ] * 2
