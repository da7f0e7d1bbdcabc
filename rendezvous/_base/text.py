"""How messages count and name nodes, and read what users give as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rendezvous._core import Node

__all__ = ["counted", "node_text", "read_text"]


def counted(count: int, one: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def node_text(node: Node) -> str:
    """`gpu-007 (pid 4211)`; of one of which only the rank is known, `rank 3`."""
    return f"{node.addr} (pid {node.pid})" if node.pid else node.addr


def read_text(option: str, path: str, bytes_max: int) -> str:
    """The beginning of a file that an option names as `file:PATH`. ValueError says which."""
    try:
        with Path(path).open("rb") as file:
            return file.read(bytes_max).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{option}=file:{path}: {error}") from error
