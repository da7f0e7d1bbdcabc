"""Log lines of the command: a record without an exception has no traceback."""

from __future__ import annotations

import json
import logging

import pytest

from rendezvous.cli import log


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("none", [None, False])
def test_no_exception_is_no_traceback(log_format: str, none: object) -> None:
    """Callers may log `exc_info=False`; logging keeps that in the record as it is."""
    log.set_up_logging(verbose=False, command="exec", log_format=log_format)
    [handler] = log.logger.handlers
    record = logging.LogRecord("rendezvous", logging.WARNING, "x.py", 1, "retrying", (), None)
    record.exc_info = none  # type: ignore[assignment]
    line = handler.format(record)
    assert "\n" not in line
    assert "retrying" in line
    if log_format == "json":
        assert "traceback" not in json.loads(line)
