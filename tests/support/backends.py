"""What tests of the back-ends of the handler share."""

from __future__ import annotations


def written(answer: tuple[bytes, object, bool] | None) -> object:
    """The token of a write that was expected to win."""
    assert answer is not None
    assert answer[2]
    return answer[1]
