"""Which nodes a launcher expects, from what its user says: names, a number, a file, SLURM's list.

Reads the environment and files.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rendezvous._coordination.expected import Expected

__all__ = ["expand_hosts", "make_expected"]

_SLURM_NODES = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")
_FILE_BYTES_MAX = 16 * 1024 * 1024
_NODES_MAX = 131_072


def make_expected(
    expect: str | int | Iterable[str] | None, environment: Mapping[str, str] | None = None
) -> Expected:
    """From RendezvousRules.expect. Raises ValueError."""
    environment = os.environ if environment is None else environment
    if expect is None:
        return Expected()
    if isinstance(expect, int):
        return _checked(Expected(count=expect))
    if not isinstance(expect, str):
        return _checked(Expected(str(name) for name in expect))
    text = expect.strip()
    if text.isdecimal():
        return _checked(Expected(count=int(text)))
    if text == "slurm":
        lists = [environment[name] for name in _SLURM_NODES if environment.get(name)]
        if not lists:
            raise ValueError(f"expect=slurm: {' and '.join(_SLURM_NODES)} are not set")
        text = lists[0]
    elif text.startswith("file:"):
        text = _from_file(text.removeprefix("file:"))
    return _checked(Expected(expand_hosts(text)))


def _checked(expected: Expected) -> Expected:
    if not 0 < expected.count <= _NODES_MAX:
        raise ValueError(f"expect: {expected.count} nodes; it must be from 1 to {_NODES_MAX:,}")
    return expected


def _from_file(path: str) -> str:
    """One name a line; what follows a blank, as in MPI's host files, and comments do not count."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"expect=file:{path}: {error}") from error
    words = (line.partition("#")[0].split() for line in text.splitlines())
    return ",".join(line[0] for line in words if line)


def expand_hosts(text: str) -> list[str]:
    """`a,b`, `a;b`, and SLURM's short form, `node[01-03,7],x`, as names. Raises ValueError."""
    names: list[str] = []
    for part in re.findall(r"(?:\[[^\]]*\]|[^,;\s\[])+", text):
        for name in _expanded(part.strip()):
            if len(names) >= _NODES_MAX:
                raise ValueError(f"expect: more than {_NODES_MAX:,} nodes")
            names.append(name)
    return [name for name in names if name]


def _expanded(part: str) -> Iterator[str]:
    before, bracket, rest = part.partition("[")
    if not bracket or ":" in part:  # [fd00::1] is an address
        yield part.strip("[]")
        return
    inside, _, after = rest.partition("]")
    for piece in inside.split(","):
        first, dash, last = piece.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) > _NODES_MAX:
            raise ValueError(f"expect: {part!r} is not a list of nodes")
        for number in range(int(first), int(last) + 1):
            for end in _expanded(after):
                yield f"{before}{number:0{len(first)}d}{end}"
