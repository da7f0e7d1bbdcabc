"""What /proc tells of another process. It goes on meanwhile: its threads and children come and go
while they are listed, which is no error here."""

from __future__ import annotations

import os
from pathlib import Path

# A file of somebody who is gone cannot be opened, or opens and cannot be read any more.
_GONE = (FileNotFoundError, ProcessLookupError)


def _read(path: str) -> str:
    """Empty: who it tells of is gone."""
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except _GONE:
        return ""


def _fields(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on, the state."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def state(pid: int) -> str:
    """One letter; empty: it is gone."""
    return "".join(_fields(pid)[:1])


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped yet does not."""
    return state(pid) not in {"", "Z"}


def cpu_s(pid: int) -> float:
    """The processor time that it has had, its own and the kernel's for it."""
    user, system = _fields(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> list[int]:
    """Those that it has, the first one included."""
    try:
        return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]
    except _GONE:
        return []


def children(pid: int) -> list[int]:
    """Of all its threads: each has those that it started."""
    lists = (_read(f"/proc/{pid}/task/{tid}/children") for tid in threads(pid))
    return [int(word) for text in lists for word in text.split()]


def words(pid: int) -> list[str]:
    """Its command line."""
    return _read(f"/proc/{pid}/cmdline").split("\0")[:-1]
