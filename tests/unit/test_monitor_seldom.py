"""Warnings that come too often are counted."""

from __future__ import annotations

import logging

import pytest

from rendezvous.monitor.seldom import Seldom


def test_the_first_is_logged_and_later_ones_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom = Seldom(logging.getLogger("test.seldom"), lambda: now[0])
    for at in (0.0, 1.0, 9.0, 10.0, 11.0, 25.0):
        now[0] = at
        seldom.warning("at %g", at)
    assert [each.message for each in caplog.records] == [
        "at 0",
        "at 10 (and 2 more like this)",
        "at 25 (and 1 more like this)",
    ]
