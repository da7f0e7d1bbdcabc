"""Several machines on one: network namespaces joined by a bridge, each with names of its own.

Made and removed by the test, which needs root. A machine's processes have its network, its host
name and its /etc/hosts, and share all else.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_numbers = itertools.count()
_LOOPBACK = "127.0.0.1 localhost\n::1 localhost\n"
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)"


def why_not() -> str:
    """Why there can be no such machines here; empty: there can."""
    if sys.platform != "linux" or not shutil.which("ip") or not shutil.which("unshare"):
        return "network namespaces need Linux, and the programs ip and unshare"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    name = f"rdzv-probe-{os.getpid()}"
    done = _run("ip", "netns", "add", name, check=False)
    if done.returncode != 0:
        return f"no network namespaces here: {done.stderr.decode().strip()}"
    try:
        inside = ("ip", "netns", "exec", name, "unshare", "--uts", "hostname", "probe")
        done = _run(*inside, check=False)
        if done.returncode == 0:
            peer = f"{name}-b"[:15]
            link = ("link", "add", "probe", "type", "veth", "peer", "name", peer)
            done = _run("ip", "-n", name, *link, check=False)
    finally:
        _run("ip", "netns", "del", name)
    return done.stderr.decode().strip() if done.returncode != 0 else ""


class Machine:
    """One of them. `before` is what makes a command one of its processes."""

    def __init__(self, namespace: str, name: str, address: str) -> None:
        self.namespace = namespace
        self.name = name
        self.address = address
        self._etc = Path("/etc/netns") / namespace
        script = 'hostname "$0" && exec "$@"'
        self.before = (
            "ip", "netns", "exec", namespace, "unshare", "--uts", "sh", "-c", script, name,
        )  # fmt: skip

    def know(self, *lines: str) -> None:
        """What its /etc/hosts says from now on, besides localhost."""
        self._etc.mkdir(parents=True, exist_ok=True)
        # In place: processes that run have this very file.
        with (self._etc / "hosts").open("w") as hosts:
            hosts.write(_LOOPBACK + "".join(f"{line}\n" for line in lines))

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return _run(*self.before, *command, check=check)

    def connect(self, host: str, port: int) -> None:
        """Raises AssertionError if nobody is reached there."""
        done = self.run(sys.executable, "-c", _CONNECT, host, str(port), check=False)
        assert done.returncode == 0, f"{self.name} to {host}: {done.stderr.decode()[-500:]}"

    @contextmanager
    def program(self, *command: str) -> Iterator[None]:
        """One that runs there meanwhile, and says nothing."""
        silent = subprocess.DEVNULL
        process = subprocess.Popen([*self.before, *command], stdout=silent, stderr=silent)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def vanish(self) -> None:
        """Its cable is cut."""
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "down")

    def close(self) -> None:
        _run("ip", "netns", "del", self.namespace, check=False)
        shutil.rmtree(self._etc, ignore_errors=True)


@contextmanager
def machines(names: Sequence[str]) -> Iterator[list[Machine]]:
    """Machines of these names, on one network. Each knows all by name."""
    stem = f"rdzv{os.getpid()}-{next(_numbers)}"
    hub = f"{stem}-hub"
    made: list[Machine] = []
    _run("ip", "netns", "add", hub)
    try:
        _run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "br0", "up")
        for i, name in enumerate(names):
            machine = Machine(f"{stem}-{i}", name, f"192.168.77.{i + 1}")
            made.append(machine)
            _join(machine, hub, f"port{i}")
        for machine in made:
            machine.know(*(f"{each.address} {each.name}" for each in made))
        yield made
    finally:
        for machine in made:
            machine.close()
        _run("ip", "netns", "del", hub, check=False)


def _join(machine: Machine, hub: str, port: str) -> None:
    space = machine.namespace
    _run("ip", "netns", "add", space)
    peer = ("peer", "name", port, "netns", hub)
    _run("ip", "-n", space, "link", "add", "eth0", "type", "veth", *peer)
    _run("ip", "-n", hub, "link", "set", port, "master", "br0", "up")
    _run("ip", "-n", space, "addr", "add", f"{machine.address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _run("ip", "-n", space, "link", "set", device, "up")


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done
