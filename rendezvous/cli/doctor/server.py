"""What a server of ours, or what is in its place, answers: the checks of `rendezvous doctor`.

One connection is tried, and used for all that follows. Leaves no key behind.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rendezvous._base.deadline import Deadline, now_s
from rendezvous._base.endpoint import format_endpoint
from rendezvous._base.errors import (
    RendezvousError,
    StoreConnectionError,
    StoreError,
    StoreNoAnswerError,
    StoreProtocolError,
    StoreRefusedError,
)
from rendezvous._base.hosts import is_loopback, own_end_towards
from rendezvous._base.text import counted
from rendezvous._core import census, tls_library
from rendezvous.backends.look import list_runs, look_at_run, similar_runs
from rendezvous.cli.doctor.findings import Finding
from rendezvous.cli.doctor.processes import find_listener, somaxconn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rendezvous._core import TCPStore
    from rendezvous.cli.doctor.processes import Listener
    from rendezvous.cli.look.server_runs import ServerRuns

__all__ = ["Asked", "check_hosting", "check_server"]

_PINGS = 200
_PINGS_S = 1.0
_SLOW_MS = 5.0
# More than a packet of Ethernet's, of jumbo frames, and much.
_SIZES = {"1,400 B": 1_400, "8,900 B": 8_900, "1 MiB": 1 << 20}
_TTL_S = 60.0
# Of a node, beside what its command does; and what a server needs for itself.
_CONNECTIONS_PER_NODE = 3
_FILES_OF_SERVER = 32


@dataclass(frozen=True)
class Asked:
    """What the user wants to know, and of what.

    Attributes:
        address: of the host, which was reached; empty: of a Unix socket.
        nodes: how many the job has; None: it was not said.
    """

    place: ServerRuns
    address: str
    nodes: int | None
    run_id: str | None

    @property
    def host(self) -> str:
        return self.place.host_and_port[0]

    @property
    def port(self) -> int:
        return self.place.host_and_port[1]


def check_server(asked: Asked, deadline: Deadline) -> Iterator[Finding]:
    """Of a port that accepts connections."""
    listener = find_listener(asked.address, asked.port) if asked.address else None
    try:
        is_secured = asked.place.is_secured
    except (StoreError, ValueError) as error:
        todo = "`rendezvous token --help` and docs/security.md say what is looked for, and where"
        yield Finding("token", "wrong", str(error), todo)
        return
    try:
        store = asked.place.connected(deadline)
    except StoreError as error:
        yield _failure(format_endpoint(asked.host, asked.port), error, listener)
        return
    with suppress(StoreError):
        yield _secured(is_secured, is_loopback(store.observed_address) or not asked.address)
        yield from _check_store(store, asked, listener, deadline)


def _failure(where: str, error: StoreError, listener: Listener | None) -> Finding:
    """What an attempt to talk to it says, and who is there, if that is this machine."""
    who = ""
    facts = {"error": type(error).__name__}
    if listener is not None:
        who = f"; the process there is {listener.name} (pid {listener.pid})"
    if isinstance(error, StoreRefusedError):
        return Finding(
            "token", "wrong", str(error),
            "`rendezvous token --help` and docs/security.md say where tokens are looked for", facts,
        )  # fmt: skip
    if listener is not None and listener.is_stopped:
        return Finding(
            "server", "unreachable", f"{where} is frozen: its process was stopped{who}",
            f"kill -CONT {listener.pid}, or start it again", facts,
        )  # fmt: skip
    is_full = "file descriptor" in str(error) or (listener is not None and _is_full(listener))
    if is_full:
        return Finding(
            "limits", "unreachable", f"the server has no descriptors left: {error}{who}",
            "start it with a higher limit of open files (ulimit -n, LimitNOFILE=)", facts,
        )  # fmt: skip
    if isinstance(error, StoreProtocolError):
        return Finding(
            "server", "unreachable", f"another program has the port: {error}{who}",
            "use another port for --endpoint, on all nodes, or stop that program", facts,
        )  # fmt: skip
    if isinstance(error, StoreNoAnswerError):
        return Finding(
            "server", "unreachable",
            f"{where} accepts connections and says nothing: the server is frozen, overloaded or"
            f" full, or another program has the port{who}",
            "see there whether the server's process runs (state T or D, swapping, a full disk);"
            " if another program has the port, use another one for --endpoint, on all nodes",
            facts,
        )  # fmt: skip
    text = str(error)
    if isinstance(error, StoreConnectionError):
        text += "; it accepts connections and does not serve them: it may have as many as it may"
    return Finding("server", "unreachable", f"{text}{who}", "see the log of the server", facts)


def _is_full(listener: Listener) -> bool:
    if listener.files is None or listener.files_max is None:
        return False
    return listener.files >= listener.files_max - 1


def _check_store(
    store: TCPStore, asked: Asked, listener: Listener | None, deadline: Deadline
) -> Iterator[Finding]:
    where = format_endpoint(asked.host, asked.port)
    observed = store.observed_address
    if asked.address:
        yield _address(observed, asked.host, asked.nodes)
    yield _latency(store, deadline)
    yield from _sizes(store, deadline)
    if asked.nodes is not None:
        yield _limits(asked.nodes, listener)
        yield from _own_limits(store, asked.nodes, deadline)
    if asked.run_id is not None:
        yield _run(store, asked.run_id, where, deadline)


def _secured(is_secured: bool, is_here: bool) -> Finding:
    if is_secured:
        text = f"a rendezvous server; it takes the token or certificate ({tls_library()})"
        return Finding("server", "ok", text)
    text = "a rendezvous server; connections are not encrypted, and it asks for no token"
    if is_here:
        return Finding("server", "ok", text)
    return Finding(
        "server",
        "note",
        text,
        "everybody who reaches it can change all of it: docs/security.md",
    )


def _address(observed: str, host: str, nodes: int | None) -> Finding:
    own = own_end_towards(host)
    facts = {"observed": observed, "own": own or None}
    if is_loopback(observed):
        text = f"the server sees this machine as {observed}: it runs on this very machine"
        if nodes is not None and nodes > 1 and is_loopback(host):
            return Finding(
                "address", "note", f"{text}, at an address that leads each machine to itself",
                "for nodes on other machines, use this machine's name or address as the endpoint",
                facts,
            )  # fmt: skip
        return Finding("address", "ok", text, "", facts)
    text = f"the server, and so the other nodes, see this machine as {observed}"
    if own and own != observed:
        return Finding(
            "address", "note",
            f"{text}, and its own address on that route is {own}: addresses are translated on the"
            " way", "if other nodes cannot reach it, name a --local-addr that they can", facts,
        )  # fmt: skip
    return Finding("address", "ok", text, "", facts)


def _latency(store: TCPStore, deadline: Deadline) -> Finding:
    times_ms: list[float] = []
    end = deadline.sooner(_PINGS_S)
    try:
        while len(times_ms) < _PINGS and (not times_ms or not end.is_over):
            times_ms.append(_timed_ms(store.ping))
    except StoreError as error:
        return Finding(
            "latency", "unreachable",
            f"{len(times_ms)} requests were answered, and then none: {error}",
            "see whether the server still runs, and whether packets get lost (ping -c 100 HOST)",
        )  # fmt: skip
    times_ms.sort()
    half, most = times_ms[len(times_ms) // 2], times_ms[-max(1, len(times_ms) // 100)]
    facts = {"p50_ms": round(half, 4), "p99_ms": round(most, 4), "max_ms": round(times_ms[-1], 4)}
    text = (
        f"{len(times_ms)} requests: half of them in {half:.3f} ms, 99 of 100 in {most:.3f} ms,"
        f" all in {times_ms[-1]:.3f} ms"
    )
    if half > _SLOW_MS:
        todo = "the server is far away or busy: put it near the nodes, on a machine of its own"
        return Finding("latency", "note", text, todo, facts)
    return Finding("latency", "ok", text, "", facts)


def _sizes(store: TCPStore, deadline: Deadline) -> Iterator[Finding]:
    """There and back; where small packets arrive and large ones do not, a line is missing."""
    key = f"rendezvous-doctor/{os.urandom(6).hex()}"
    took: dict[str, float] = {}
    for name, size in _SIZES.items():
        value = os.urandom(size)
        try:
            store.set_timeout(max(0.2, deadline.left_s))
            took[name] = _timed_ms(partial(_there_and_back, store, key, value))
        except StoreError as error:
            arrived = f"{', '.join(took)} went there and back, " if took else "small requests work,"
            yield Finding(
                "sizes", "unreachable", f"{arrived} {name} did not: {error}",
                "packets of full size are lost on the way: compare the MTU of the interfaces (ip"
                " link) and tunnels; `ping -M do -s 1472 HOST` shows what gets through",
            )  # fmt: skip
            return
    text = ", ".join(f"{name} in {ms:.2f} ms" for name, ms in took.items())
    facts = {"took_ms": {str(size): round(took[name], 4) for name, size in _SIZES.items()}}
    yield Finding("sizes", "ok", f"there and back: {text}", "", facts)
    with suppress(StoreError):
        store.delete_key(key)


def _there_and_back(store: TCPStore, key: str, value: bytes) -> None:
    store.set(key, value, _TTL_S)
    store.get(key)


def _timed_ms(ask: Callable[[], object]) -> float:
    begun_s = now_s()
    ask()
    return (now_s() - begun_s) * 1000


def _limits(nodes: int, listener: Listener | None) -> Finding:
    need = nodes * _CONNECTIONS_PER_NODE + _FILES_OF_SERVER
    if listener is None:
        return Finding(
            "limits", "note",
            f"{nodes} nodes take up to {need} descriptors of the server, which is on another"
            " machine, or another user's",
            "run doctor there, as the server's user, to check them",
        )  # fmt: skip
    return _limits_of(f"the server (pid {listener.pid})", nodes, listener.files_max)


def _own_limits(store: TCPStore, nodes: int, deadline: Deadline) -> Iterator[Finding]:
    """Of those that the server sets its clients, what is too low."""
    need = nodes * _CONNECTIONS_PER_NODE
    try:
        _, limits = census(store, False, deadline.left_s)
    except StoreError:  # of a role that may not ask
        return
    most = limits.get("connections")
    if most is not None and most < need:
        yield Finding(
            "limits", "wrong",
            f"the server takes {most} connections, and {nodes} nodes have up to {need}",
            f"start it with --limit connections={need}", {"connections": most, "needed": need},
        )  # fmt: skip


def check_hosting(nodes: int) -> Finding:
    """Whether a server could be started here for so many nodes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = None if hard == resource.RLIM_INFINITY else hard
    return _limits_of("a server started here", nodes, most)


def _limits_of(who: str, nodes: int, most: int | None) -> Finding:
    need = nodes * _CONNECTIONS_PER_NODE + _FILES_OF_SERVER
    waiting = somaxconn()
    facts = {"nodes": nodes, "descriptors": most, "needed": need, "somaxconn": waiting}
    if most is not None and most < need:
        return Finding(
            "limits", "wrong",
            f"{who} may have {most} open files, and {nodes} nodes take up to {need}",
            "raise its limit of open files (ulimit -n, LimitNOFILE=)", facts,
        )  # fmt: skip
    text = f"{who} may have {'any number of' if most is None else most} open files, and {nodes}"
    text += f" nodes take up to {need}"
    if waiting is not None and waiting < nodes:
        return Finding(
            "limits", "note", f"{text}; {waiting} connections may wait to be accepted (somaxconn)",
            f"if nodes that start at once take a second longer: sysctl net.core.somaxconn={nodes}",
            facts,
        )  # fmt: skip
    return Finding("limits", "ok", text, "", facts)


def _run(store: TCPStore, run_id: str, where: str, deadline: Deadline) -> Finding:
    facts = {"run_id": run_id}
    try:
        view = look_at_run(store, run_id, Deadline.after(deadline.left_s), 0)
        runs = list_runs(store)
    except (StoreError, RendezvousError) as error:
        return Finding("run", "wrong", f"{run_id!r}: {error}", "", facts)
    if view is None:
        similar = similar_runs(run_id, runs)
        meant = f"; {' or '.join(map(repr, similar))} is there" if similar else ""
        return Finding(
            "run", "wrong", f"nobody has joined a run {run_id!r} at {where}{meant}",
            "give all nodes the same --run-id and --endpoint; `rendezvous status` lists the runs",
            facts,
        )  # fmt: skip
    if view.complete:
        return Finding(
            "run", "ok", f"{run_id!r} runs, with {counted(view.world_size, 'rank')}", "", facts
        )
    least = view.settings.min_nodes if view.settings else 0
    return Finding(
        "run", "note",
        f"{run_id!r} is there, {view.counts.participants} of at least {least} nodes have joined",
        f"`rendezvous status {run_id}` says who is missing", facts,
    )  # fmt: skip
