"""Runs the command `rendezvous` on a terminal of its own, and reads what is drawn there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from support.cli import environment


@contextmanager
def on_terminal(*words: str, columns: int = 80, **env: str) -> Iterator[int]:
    """The terminal's other end, to read from."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "rendezvous", *words],
        stdin=theirs, stdout=theirs, stderr=theirs,
        # COLUMNS would be believed before the terminal; pytest's workers set it.
        env=environment(TERM="xterm", COLUMNS=str(columns), LINES="40", **env),
    )  # fmt: skip
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, *parts: str) -> str:
    """All that is drawn until each of these is among it."""
    text = ""
    while not all(part in text for part in parts):
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the command has ended
            chunk = b""
        if not chunk:
            raise AssertionError(f"{parts} are not in {text!r}")
        text += chunk.decode()
    return text
