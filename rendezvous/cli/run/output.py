"""Where the processes of `exec`'s command write: to our own stdout and stderr, to files, or both.

What goes both ways, or is to be known by its last lines, is copied by the guard process; what goes
to a file alone is written by the process itself. Only the main thread uses it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rendezvous.cli import exits as _exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rendezvous.cli.run.guard_client import Guard

__all__ = ["Output", "RoundOutput", "last_lines"]

_STREAMS = (1, 2)
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Output:
    """What the user asked for.

    Attributes:
        log_dir: the folder of the files; None: no files.
        filed: which streams (1, 2) go to files.
        shown: which streams appear on ours as well, with the rank before each line.
    """

    log_dir: Path | None = None
    filed: frozenset[int] = frozenset()
    shown: frozenset[int] = frozenset()

    def copied(self, processes: int) -> list[tuple[int, int]]:
        """Which pipes the guard copies: the number of the process, and the stream.

        What draws on a terminal shall find one: then nobody knows what was said last.
        """
        streams = [stream for stream in _STREAMS if stream in self.shown]
        if 2 not in self.shown and 2 not in self.filed and (processes > 1 or not _is_terminal(2)):
            streams.append(2)
        return [(process, stream) for process in range(processes) for stream in streams]

    def check(self, run_id: str) -> None:
        """Raise CommandError if files cannot be made: before anybody waits for this node."""
        if self.log_dir is None:
            return
        folder = _make(self._folder(run_id))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _exit.CommandError(f"cannot write in the folder of --log-dir: {folder}")

    def _folder(self, run_id: str) -> Path:
        assert self.log_dir is not None
        # Of dots alone, it would be another folder.
        name = quote(run_id, safe=" ")
        return self.log_dir / (name if name.strip(".") else name.replace(".", "%2E"))

    def begin(self, guard: Guard, run_id: str, round_: int, ranks: Sequence[int]) -> RoundOutput:
        """Of the processes of one round, by their ranks. Raises CommandError."""
        paths: list[Path | None] = [None] * len(ranks)
        if self.log_dir is not None:
            folder = _make(self._folder(run_id) / f"round-{round_}")
            paths = [folder / f"rank-{rank}.log" for rank in ranks]
        # Without a guard, as far as that goes: a pipe that nobody reads would hold the command.
        copied = self.copied(len(ranks)) if guard.mend() else []
        uses: list[tuple[str | None, str | None]] = []
        for process, stream in copied:
            # Whole lines, where several write.
            prefix = "" if len(ranks) > 1 else None
            if stream in self.shown:
                prefix = f"[rank {ranks[process]}] "
            path = paths[process] if stream in self.filed else None
            uses.append((prefix, None if path is None else str(path)))
        guard.begin(uses)
        return RoundOutput(self, guard, copied, paths)


class RoundOutput:
    """Of the processes of one command."""

    def __init__(
        self,
        output: Output,
        guard: Guard,
        copied: list[tuple[int, int]],
        paths: Sequence[Path | None],
    ) -> None:
        self._output = output
        self._guard = guard
        self._pipes = {each: number for number, each in enumerate(copied)}
        self.paths = paths
        # What stands in the files before is an earlier job's of this name.
        self._begin_bytes = [0] * len(paths)

    @contextmanager
    def descriptors(self) -> Iterator[list[tuple[int | None, int | None]]]:
        """What each process gets as its stdout and stderr; None: ours. Raises CommandError."""
        files: list[int | None] = []
        try:
            for path in self.paths:
                files.append(None if path is None else _append_to(path))
            self._begin_bytes = [0 if file is None else os.fstat(file).st_size for file in files]
            yield [
                (self._descriptor(number, 1, file), self._descriptor(number, 2, file))
                for number, file in enumerate(files)
            ]
        finally:
            for file in files:
                if file is not None:
                    os.close(file)

    def _descriptor(self, process: int, stream: int, file: int | None) -> int | None:
        pipe = self._pipes.get((process, stream))
        if pipe is not None:
            return self._guard.pipes[pipe]
        return file if stream in self._output.filed else None

    def last_words(self, process: int) -> bytes | None:
        """The end of what it has written to stderr; None: that is not known."""
        pipe = self._pipes.get((process, 2))
        if pipe is not None:
            return self._guard.last_words(pipe)
        path = self.paths[process]
        if path is None or 2 not in self._output.filed:
            return None
        return _end_of(path, self._begin_bytes[process])


def last_lines(words: bytes, count: int) -> list[bytes]:
    """The last of them that are not empty."""
    lines = [line.strip(b"\r\n") for line in words.splitlines() if line.strip()]
    return lines[-count:]


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _exit.CommandError(f"cannot create the folder of --log-dir: {error}") from error
    return folder


def _append_to(path: Path) -> int:
    try:
        # Two processes of one rank, of two jobs with one name, write one after the other.
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _exit.CommandError(f"cannot write the log of --log-dir: {error}") from error


def _end_of(path: Path, begin_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin_bytes, size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return None


def _is_terminal(fd: int) -> bool:
    try:
        os.fstat(fd)
        return os.isatty(fd)
    except OSError:
        return True  # there is none to copy to
