"""How a failed process of `exec` is told: on this node, and to the others."""

from __future__ import annotations

import pytest

from rendezvous.cli.run.blame import Failure


@pytest.mark.parametrize(
    ("words", "line", "event"),
    [
        (b"loading\nno such file \n\n", b"rank 3: no such file", "rank 3: no such file"),
        (b"", b"rank 3: (it wrote nothing to stderr)", "rank 3: (it wrote nothing to stderr)"),
        (b"\n", b"rank 3: (it wrote nothing to stderr)", "rank 3: (it wrote nothing to stderr)"),
        # It wrote to a terminal, which has it.
        (None, b"", "rank 3"),
    ],
)
def test_a_last_line_is_told_only_where_it_is_known(
    words: bytes | None, line: bytes, event: str
) -> None:
    """What was not written, or is not known, is not told as a last line."""
    failure = Failure(7, 3, words)
    assert failure.last_line() == line
    assert failure.event_text() == f"exit code 7, {event}"
