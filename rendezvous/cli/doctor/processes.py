"""Which process listens at a port of this machine, and what it may use: of Linux's /proc."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

__all__ = ["Listener", "find_listener", "somaxconn"]

_LISTENS = "0A"


@dataclass(frozen=True)
class Listener:
    """A process, as far as this user may see it."""

    pid: int
    name: str
    is_stopped: bool
    files: int | None
    files_max: int | None


def find_listener(address: str, port: int) -> Listener | None:
    """None: it is on another machine, or nobody may say who it is."""
    inodes = set(_listening(address, port))
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            links = {str(each.readlink()) for each in (process / "fd").iterdir()}
        except OSError:
            continue
        if links & inodes:
            return _describe(process)
    return None


def somaxconn() -> int | None:
    """How many connections may wait to be accepted, at most."""
    try:
        return int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return None


def _listening(address: str, port: int) -> list[str]:
    found = []
    for table, length in (("tcp", 8), ("tcp6", 32)):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].partition(":")
            if fields[3] != _LISTENS or int(number, 16) != port or len(host) != length:
                continue
            if _text(host) in {_bare(address), "0.0.0.0", "::"}:  # noqa: S104
                found.append(f"socket:[{fields[9]}]")
    return found if _is_here(address) else []


def _text(hexadecimal: str) -> str:
    """An address as /proc/net has it: words in this machine's order."""
    words = re.findall("." * 8, hexadecimal)
    packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    return _bare(str(ip_address(packed)))


def _bare(address: str) -> str:
    ip = ip_address(address.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _is_here(address: str) -> bool:
    """Whether it is an address of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _describe(process: Path) -> Listener:
    name, is_stopped, files, files_max = "?", False, None, None
    try:
        name = (process / "comm").read_text().strip()
        is_stopped = (process / "stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
        files = len(list((process / "fd").iterdir()))
        found = re.search(r"Max open files +(\d+)", (process / "limits").read_text())
        files_max = int(found[1]) if found else None
    except OSError:
        pass
    return Listener(int(process.name), name, is_stopped, files, files_max)
