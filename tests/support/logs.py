"""What a test looks for among the lines of the log."""

import pytest


def logged(caplog: pytest.LogCaptureFixture, *parts: str) -> bool:
    """Whether one line has all these parts."""
    return any(all(part in text for part in parts) for text in caplog.messages)
