"""Which nodes a launcher expects, from what its user says: names, a number, a file, SLURM's list.

Reads the environment and files.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from rendezvous._base.host_list import expand_hosts
from rendezvous._base.text import counted, read_text
from rendezvous._coordination.expected import Expected

__all__ = ["expand_names", "make_expected"]

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
    return _checked(Expected(expand_names(text)))


def _checked(expected: Expected) -> Expected:
    if not 0 < expected.count <= _NODES_MAX:
        raise ValueError(
            f"expect: {counted(expected.count, 'node')}; it must be from 1 to {_NODES_MAX:,}"
        )
    return expected


def _from_file(path: str) -> str:
    """One name a line; what follows a blank, as in MPI's host files, and comments do not count."""
    text = read_text("expect", path, _FILE_BYTES_MAX)
    words = (line.partition("#")[0].split() for line in text.splitlines())
    return ",".join(line[0] for line in words if line)


def expand_names(text: str) -> list[str]:
    """`a,b`, `a;b`, `[fd00::1]`, and SLURM's short form, as names. Raises ValueError."""
    try:
        names = list(islice(_names(text), _NODES_MAX + 1))
    except ValueError as error:
        raise ValueError(f"expect: {error}") from None
    if len(names) > _NODES_MAX:
        raise ValueError(f"expect: more than {_NODES_MAX:,} nodes")
    return names


def _names(text: str) -> Iterator[str]:
    for part in re.findall(r"(?:\[[^\]]*\]|[^,;\s\[])+", text):
        if ":" not in part:
            yield from expand_hosts(part)
        elif name := part.strip("[]"):  # [fd00::1] is an address
            yield name
