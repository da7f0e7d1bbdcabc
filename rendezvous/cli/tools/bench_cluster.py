"""`rendezvous bench --cluster`: one report of a real network, by the same command on every node.

srun, mpirun or `rendezvous exec` start it on each node. The nodes meet, measure together, and rank
0 prints and writes what came of it, with a manifest of what was measured where. Host names do not
go into the report.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rendezvous import _core
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import RendezvousError, StoreError
from rendezvous.backends.open_store import open_store
from rendezvous.cli import exits as _exit
from rendezvous.cli.options import outer_server
from rendezvous.cli.run.surroundings import look_around

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rendezvous._base.api import KeyValueStore
    from rendezvous._stores.store import Store

__all__ = ["MODES", "run_cluster"]

MODES = ("dry-run", "quick", "full")
_TIMEOUT_S = 600.0
_RUN_ID = "rendezvous-bench-cluster"
_PERCENTILES = (50, 90, 99, 100)

_Times: TypeAlias = "list[float]"


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        seconds: for each kind of call.
        sizes: of values, in bytes.
    """

    seconds: float
    rounds: int
    barriers: int
    sizes: tuple[int, ...]


_PLANS = {
    "quick": Plan(seconds=1.0, rounds=3, barriers=20, sizes=(64, 65_536)),
    "full": Plan(seconds=10.0, rounds=20, barriers=200, sizes=(64, 1_400, 65_536, 1_048_576)),
}


@dataclass(frozen=True)
class Where:
    """How the nodes meet.

    Attributes:
        url: of the store of a run around this command; empty: it meets at the endpoint itself.
    """

    launcher: str
    endpoint: str
    nodes: int
    rank: int | None
    is_host: bool | None
    url: str = ""


def run_cluster(args: argparse.Namespace) -> int:
    """Measure with all nodes. CommandError when that cannot be done."""
    where = _find(args)
    if args.cluster == "dry-run":
        _print_plans(where)
        return _exit.OK
    plan = _PLANS[args.cluster]
    with _together(where) as (store, rank, size):
        runs = _measure(store, rank, size, where, plan)
        reports = store.exchange("bench/reports", rank, size, json.dumps(runs))
        if rank == 0:
            report = _report(args.cluster, plan, where, [json.loads(each) for each in reports])
            _print(report)
            _write(report, args.report)
        # The store may be rank 0's own.
        store.barrier("bench/end", size, rank=rank)
        if rank == 0:
            with suppress(StoreError):
                store.delete_prefix("bench/")
    return _exit.OK


def _find(args: argparse.Namespace) -> Where:
    """From the run around us, the options, or a workload manager."""
    environment = os.environ
    url = environment.get("RENDEZVOUS_ENDPOINT", "")
    ranked = {"RANK", "WORLD_SIZE", "RENDEZVOUS_ROUND"} <= set(environment)
    if ranked and url and args.endpoint is None:
        return Where(
            "rendezvous exec", outer_server() or "", int(environment["WORLD_SIZE"]),
            int(environment["RANK"]), False, url,
        )  # fmt: skip
    found = look_around(environment)
    endpoint = None if args.endpoint is None else format_endpoint(*args.endpoint)
    nodes = args.nodes if args.nodes is not None else (found.nodes if found else None)
    is_host = None if endpoint or found is None else found.is_host
    endpoint = endpoint or (found.endpoint if found else None)
    if endpoint is None or nodes is None:
        raise _exit.CommandError(
            "start this on every node, with srun, mpirun or `rendezvous exec ... -- rendezvous "
            "bench --cluster`; or give --endpoint HOST[:PORT] of one node and --nodes N",
            _exit.USAGE,
        )
    rank = found.node if found else None
    return Where(found.manager if found else "none", endpoint, nodes, rank, is_host)


def _print_plans(where: Where) -> None:
    rank = "" if where.rank is None else f", this one has rank {where.rank}"
    print(f"launcher: {where.launcher}; {where.nodes} nodes meet at {where.endpoint}{rank}")
    for name, plan in _PLANS.items():
        sizes = ", ".join(f"{size:,}" for size in plan.sizes)
        takes_s = plan.seconds * (2 + 2 * len(plan.sizes))
        print(
            f"{name}: {plan.rounds} rounds, {plan.barriers} barriers and exchanges, get and set of"
            f" {sizes} B, {plan.seconds:g} s each; about {takes_s:g} s and the time to meet"
        )
    print("nothing was connected to; keys are deleted in the end, host names are not reported")


@contextmanager
def _together(where: Where) -> Iterator[tuple[Store, int, int]]:
    """A store of all nodes, and this one's place."""
    try:
        if where.url:
            store = open_store(where.url, _TIMEOUT_S)
            store.set_timeout(_TIMEOUT_S)
            assert where.rank is not None
            yield store, where.rank, where.nodes
            store.close()
            return
        config: dict[str, Any] = {} if where.is_host is None else {"is_host": where.is_host}
        if where.rank is not None:
            config |= {"rank_by": "given", "rank": where.rank}
        with _handler(where.endpoint, _RUN_ID, where.nodes, **config) as handler:
            info = handler.next_rendezvous()
            yield _of_all(info.store), info.rank, info.world_size
    except (StoreError, RendezvousError) as error:
        raise _exit.CommandError(str(error)) from error


def _of_all(store: KeyValueStore) -> Store:
    from rendezvous._stores.store import Store

    assert isinstance(store, Store)
    store.set_timeout(_TIMEOUT_S)
    return store


@contextmanager
def _handler(endpoint: str, run_id: str, nodes: int, **config: Any) -> Iterator[Any]:
    # Here, because the package of handlers takes longer to import than most commands take.
    from rendezvous._base.api import RendezvousParameters
    from rendezvous.handler.registry import get_rendezvous_handler

    parameters = RendezvousParameters(
        "c10d", endpoint, run_id, nodes, nodes, join_timeout=_TIMEOUT_S, **config
    )
    handler = get_rendezvous_handler(parameters)
    try:
        yield handler
    finally:
        handler.shutdown()


def _measure(store: Store, rank: int, size: int, where: Where, plan: Plan) -> dict[str, Any]:
    """What this node saw. All nodes do each part at the same time."""
    found: dict[str, Any] = {"manifest": _manifest(), "calls": {}}

    def together(name: str) -> None:
        store.barrier(f"bench/{name}", size, rank=rank)

    key = f"bench/keys/{rank}"
    many = range(plan.barriers)
    together("begin")
    barriers = [partial(store.barrier, "bench/b", size, rank=rank, round=at + 1) for at in many]
    found["barrier"] = _summary(list(map(_timed, barriers)))
    exchanges = [partial(store.exchange, f"bench/e/{at}", rank, size, b"x" * 256) for at in many]
    found["exchange"] = _summary(list(map(_timed, exchanges)))
    for value_size in plan.sizes:
        together(f"set {value_size}")
        setting = partial(store.set, key, b"x" * value_size)
        found["calls"][f"set {value_size}"] = _times(setting, plan.seconds)
        together(f"get {value_size}")
        found["calls"][f"get {value_size}"] = _times(partial(store.get, key), plan.seconds)
    together("add")
    found["calls"]["add, one key for all"] = _times(
        lambda: store.add("bench/counter", 1), plan.seconds
    )
    together("rounds")
    if rank == 0:
        store.set("bench/run", f"{_RUN_ID}/{os.urandom(6).hex()}")
    run_id = store.get("bench/run").decode()
    found["meet"] = _meetings(where.endpoint, run_id, size, plan.rounds, together)
    return found


def _meetings(
    endpoint: str, run_id: str, size: int, rounds: int, together: Callable[[str], None]
) -> dict[str, float]:
    """A rendezvous of all nodes, from a common start until this node has its rank."""
    times = []
    with _handler(endpoint, run_id, size, is_host=False, bootstrap_store=False) as handler:
        for at in range(rounds):
            together(f"round {at}")
            times.append(_timed(handler.next_rendezvous))
        together("all met")
    return _summary(times)


def _timed(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def _times(ask: Callable[[], object], seconds: float) -> dict[str, float]:
    ask()  # not counted
    times: _Times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(_timed(ask))
    return _summary(times)


def _summary(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    found = {
        ("max" if percent == 100 else f"p{percent}") + "_ms": round(
            ordered[max(0, -(-len(ordered) * percent // 100) - 1)] * 1000, 4
        )
        for percent in _PERCENTILES
    }
    return found | {"count": len(ordered)}


def _manifest() -> dict[str, Any]:
    """Of one node; nothing that names it."""
    return {
        "rendezvous": _core.__version__,
        "tls": _core.tls_library() if _core.has_credentials() else None,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def _report(mode: str, plan: Plan, where: Where, nodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "report": "rendezvous bench --cluster",
        "version": 1,
        "mode": mode,
        "plan": asdict(plan),
        "launcher": where.launcher,
        "world_size": len(nodes),
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "nodes": list(nodes),
    }


def _print(report: dict[str, Any]) -> None:
    """Of each kind the median of the nodes' medians, and the worst of all."""
    nodes = report["nodes"]
    print(f"{report['world_size']} nodes, {report['launcher']}, {report['mode']}\n")
    print(f"{'ms':<28}{'median p50':>12}{'median p99':>12}{'worst':>12}")
    names = [("rendezvous", "meet"), ("barrier", "barrier"), ("exchange of 256 B", "exchange")]
    for name, key in names:
        _print_line(name, [node[key] for node in nodes])
    for name in nodes[0]["calls"]:
        what, _, size = name.partition(" ")
        shown = f"{what} {int(size):,} B" if size.isdecimal() else name
        _print_line(shown, [node["calls"][name] for node in nodes])
    kinds = {json.dumps(_kind(node["manifest"]), sort_keys=True) for node in nodes}
    if len(kinds) > 1:
        print(f"\nthe nodes differ: {len(kinds)} kinds of versions, kernels and processors")


def _kind(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key != "load"}


def _print_line(name: str, found: Sequence[dict[str, float]]) -> None:
    def middle(key: str) -> float:
        return sorted(each[key] for each in found)[len(found) // 2]

    worst = max(each["max_ms"] for each in found)
    print(f"{name:<28}{middle('p50_ms'):>12.3f}{middle('p99_ms'):>12.3f}{worst:>12.3f}")


def _write(report: dict[str, Any], path: str) -> None:
    text = json.dumps(report, indent=1)
    if path == "-":
        sys.stdout.write(text + "\n")
        return
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise _exit.CommandError(f"cannot write the report: {error}") from error
    print(f"\nthe report is in {path}: it has no host names, and may be sent to others")
