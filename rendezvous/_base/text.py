"""How messages count, and read what users give as a file. Knows nothing of a rendezvous."""

from pathlib import Path

__all__ = ["counted", "read_text"]


def counted(count: int, one: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def read_text(option: str, path: str, bytes_max: int) -> str:
    """The beginning of a file that an option names as `file:PATH`. ValueError says which."""
    try:
        with Path(path).open("rb") as file:
            return file.read(bytes_max).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{option}=file:{path}: {error}") from error
