"""The servers that are put side by side: each a process on a free port, ended by us.

A peer that is not installed is left out, with a line that says so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from _support.driver import connections_limit, raise_file_limit, tool

# Of the servers that ask for one, and of their clients.
TOKEN = "0123456789abcdef0123456789abcdef"
OURS = (
    "import rendezvous, sys; s = rendezvous.Server('127.0.0.1', 0); "
    "print(s.port, flush=True); sys.stdin.read()"
)
TORCHS = (
    "from torch.distributed import TCPStore; import sys; "
    "s = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False); "
    "print(s.port, flush=True); sys.stdin.read()"
)
_START_BACKSTOP_S = 60.0
_PORTS_TRIED = 5


class NotListeningError(RuntimeError):
    """A server did not start, or somebody else has its port."""


@dataclass(frozen=True)
class Server:
    """A server that runs: where, as which process, and what it speaks."""

    name: str
    protocol: str
    port: int
    pid: int


def torch_python() -> str | None:
    """An interpreter that has torch: $RDZV_BENCH_TORCH_PYTHON or this one; None without."""
    python = os.environ.get("RDZV_BENCH_TORCH_PYTHON", sys.executable)
    looked = subprocess.run(
        [python, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('torch'))"],
        check=False,
    )
    return python if looked.returncode == 0 else None


def free_port() -> int:
    """A port of loopback that nobody has. Somebody may take it before the server that is to."""
    with socket.socket() as probe:
        # Ports of closed connections that wait for their last minute are as good.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(pid: int, port: int) -> bool:
    """Whether that process listens on that port: another one may have been faster to take it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
    try:
        return any(str(fd.readlink()) in listening for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ends, or a descriptor went away while we looked
        return False


def _wait_until_it_listens(port: int, process: subprocess.Popen[str], errors: IO[str]) -> None:
    deadline = time.monotonic() + _START_BACKSTOP_S
    while time.monotonic() < deadline and process.poll() is None:
        if _listens(process.pid, port):
            return
        time.sleep(0.02)
    raise NotListeningError(
        f"{process.args!r} does not listen on port {port}: {_last_line(errors)}"
    )


@contextmanager
def running(words: Sequence[str], port: int | None = None) -> Iterator[tuple[int, int]]:
    """(port, pid) of a server process. Without `port` it prints its own as its first line."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            if port is None:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line.strip().isdigit():
                    raise NotListeningError(f"{words!r} did not start: {_last_line(errors)}")
                port = int(line)
            else:
                _wait_until_it_listens(port, process, errors)
            yield port, process.pid
        finally:
            process.kill()
            process.communicate()


def _last_line(errors: IO[str]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors if line.strip()]
    return lines[-1] if lines else "it said nothing"


@contextmanager
def _ours(protocol: str) -> Iterator[Server]:
    with running([sys.executable, "-c", OURS]) as (port, pid):
        yield Server(f"ours, {protocol}", protocol, port, pid)


@contextmanager
def with_token() -> Iterator[tuple[Server, Path]]:
    """A server of ours that asks for a token, and the file that has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "token"
        path.write_text(TOKEN)
        program = OURS.replace("0);", f"0, token={TOKEN!r});", 1)
        with running([sys.executable, "-c", program]) as (port, pid):
            yield Server("ours, token", "native", port, pid), path


@contextmanager
def _floor(protocol: str, value_bytes: int, hold: int) -> Iterator[Server]:
    words = [tool("floor_server"), "0", str(value_bytes), str(hold)]
    with running(words) as (port, pid):
        yield Server(f"floor, {protocol}", protocol, port, pid)


@contextmanager
def with_file_in_place(path: str, text: str) -> Iterator[list[str]]:
    """Words that, put before a command, make it see `text` in place of the file `path`.

    Needs root: a name space of mounts. Only that command sees it.
    """
    with tempfile.NamedTemporaryFile("w", prefix="rendezvous-bench-") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        mount = f'mount --bind {file.name} {path} && exec "$@"'
        yield ["unshare", "--mount", "sh", "-c", mount, "sh"]


def can_put_files_in_place() -> bool:
    """Whether with_file_in_place works here."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    with with_file_in_place("/etc/nsswitch.conf", "hosts: files\n") as words:
        return subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0


@contextmanager
def _torch() -> Iterator[Server]:
    """Torch's server; where that can be done, it does not ask the name server.

    It looks up the name of every client before it serves the next. nameserver.py shows what that
    costs; elsewhere this machine's name server is not what is measured.
    """
    with ExitStack() as stack:
        words: list[str] = []
        if can_put_files_in_place():
            words = stack.enter_context(with_file_in_place("/etc/nsswitch.conf", "hosts: files\n"))
        words = [*words, torch_python() or "", "-c", TORCHS]
        port, pid = stack.enter_context(running(words))
        yield Server("torch", "c10d", port, pid)


@contextmanager
def _redis() -> Iterator[Server]:
    port = free_port()
    words = [_redis_program() or "", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    words += [
        "--appendonly",
        "no",
        "--maxclients",
        str(connections_limit()),
        "--tcp-backlog",
        "65535",
    ]
    # It takes no loopback address but 127.0.0.1 for one, and the driver uses several.
    words += ["--client-query-buffer-limit", "1gb", "--protected-mode", "no"]
    with running(words, port) as (_, pid):
        yield Server("Redis", "resp", port, pid)


@contextmanager
def _memcached() -> Iterator[Server]:
    port = free_port()
    words = [shutil.which("memcached") or "", "-l", "127.0.0.1", "-p", str(port), "-t", "1"]
    words += ["-U", "0", "-c", str(connections_limit()), "-b", "65535", "-R", "1000"]
    words += ["-u", "root"] if os.geteuid() == 0 else []
    with running(words, port) as (_, pid):
        yield Server("memcached", "memcached", port, pid)


def _redis_program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


_HAVE: dict[str, tuple[Callable[[], object], str]] = {
    "torch": (torch_python, "this Python has no torch, and RDZV_BENCH_TORCH_PYTHON names none"),
    "Redis": (_redis_program, "neither redis-server nor valkey-server is installed"),
    "memcached": (lambda: shutil.which("memcached"), "memcached is not installed"),
}


def missing(peers: Sequence[str]) -> dict[str, str]:
    """Which of `peers` are not installed, and how that shows."""
    return {
        peer: why
        for peer, (find, why) in _HAVE.items()
        if any(name == peer for name in peers) and not find()
    }


def _start_peer(stack: ExitStack, peer: str) -> Server:
    """Some take no port 0; a port that was free may be taken a moment later."""
    starters = {"torch": _torch, "Redis": _redis, "memcached": _memcached}
    for _ in range(_PORTS_TRIED - 1):
        with suppress(NotListeningError):
            return stack.enter_context(starters[peer]())
    return stack.enter_context(starters[peer]())


def start(
    stack: ExitStack, peers: Sequence[str], *, value_bytes: int = 64, hold: int = 0
) -> dict[str, Server]:
    """Start those of `peers` that are installed, until `stack` ends.

    Names: "ours, c10d", "ours, native", "floor, c10d", "floor, native", "torch", "Redis",
    "memcached". `value_bytes` and `hold` are the floor's. Ours has a process for each protocol, so
    that its CPU times are told apart.
    """
    raise_file_limit()
    left_out = missing(peers)
    servers: dict[str, Server] = {}
    for peer in peers:
        if peer in left_out:
            continue
        kind, _, protocol = peer.partition(", ")
        if kind == "ours":
            server = stack.enter_context(_ours(protocol))
        elif kind == "floor":
            server = stack.enter_context(_floor(protocol, value_bytes, hold))
        else:
            server = _start_peer(stack, peer)
        servers[peer] = server
    return servers
