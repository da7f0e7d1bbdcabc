"""The loop by which a node joins, with a keeper that says what a test has written down."""

from __future__ import annotations

import logging

import pytest

from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._coordination.join import Answer, Joining, join
from rendezvous._coordination.run_view import Counts, RunView
from rendezvous._coordination.waiting import Progress
from rendezvous._core import GroupSettings, Node
from rendezvous.errors import (
    RendezvousConnectionError,
    RendezvousTimeoutError,
    StoreClosedError,
    StoreError,
)

NODE, OTHER = Node("host", 1, 1), Node("other", 2, 2)
SETUP = NodeSetup("run", NODE, GroupSettings(3, 3, 1.0, 1.0, 3), 5.0, "nowhere")
SEAT = Seat(1, 0, 3, NODE)
BROKEN = RendezvousConnectionError("the line broke")


def view(*nodes: Node) -> RunView:
    return RunView("server", 1, participants=nodes, counts=Counts(len(nodes)), role="forming")


class Scripted(Joining):
    """Says one thing after the other."""

    def __init__(self, *script: Answer | Exception, seen: RunView | None = None) -> None:
        self._script = list(script)
        self._seen = seen
        self.waits = 0
        self.looks = 0

    def ask(self, time: JoinTime) -> Answer:
        said = self._script.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def wait(self, time: JoinTime) -> None:
        self.waits += 1

    def look(self, time: JoinTime) -> RunView | None:
        self.looks += 1
        return self._seen


def joined(joining: Joining, time: JoinTime | None = None) -> Seat:
    time = time or JoinTime(Deadline.after(60.0), 60.0, 600.0)
    return join(SETUP, joining, Progress(SETUP, time), time)


def over() -> JoinTime:
    return JoinTime(Deadline.after(0.0), 60.0, 600.0)


def test_it_is_asked_until_there_is_a_seat() -> None:
    """Between two questions it is waited for news."""
    joining = Scripted(Answer(is_spare=False), Answer(view=view(NODE)), Answer(SEAT))
    assert joined(joining) == SEAT
    assert (joining.waits, joining.looks) == (2, 0)


@pytest.mark.parametrize(("untold", "lines"), [(0, 2), (1, 1)])
def test_failures_are_told_and_the_join_goes_on(
    caplog: pytest.LogCaptureFixture, untold: int, lines: int
) -> None:
    """Once for each outage; a keeper may say that one alone is none."""
    joining = Scripted(BROKEN, Answer(), BROKEN, BROKEN, BROKEN, Answer(SEAT))
    joining.failures_untold = untold
    assert joined(joining) == SEAT
    told = [each for each in caplog.messages if "joining continues as soon as" in each]
    assert len(told) == lines


def test_a_refusal_ends_the_join_at_once() -> None:
    """What a store refuses, it refuses again."""
    refusal = RendezvousConnectionError("refused")
    refusal.__cause__ = StoreClosedError("closed")
    with pytest.raises(RendezvousConnectionError, match="refused"):
        joined(Scripted(refusal))


def test_at_the_deadline_the_last_view_says_who_is_there() -> None:
    """It is looked for only where none was seen."""
    joining = Scripted(Answer(view=view(NODE)), Answer(view=view(NODE, OTHER), is_late=True))
    with pytest.raises(RendezvousTimeoutError, match="2 of at least 3"):
        joined(joining)
    assert joining.looks == 0
    joining = Scripted(Answer(), seen=view(OTHER))
    with pytest.raises(RendezvousTimeoutError, match=r"1 of at least 3.*other \(pid 2\)"):
        joined(joining, over())
    assert (joining.looks, joining.waits) == (1, 0)


def test_a_keeper_that_cannot_be_reached_at_the_deadline_is_told() -> None:
    """With its last failure, which is the cause."""
    with pytest.raises(RendezvousTimeoutError, match="last failure: the line broke") as caught:
        joined(Scripted(BROKEN), over())
    assert caught.value.__cause__ is BROKEN


def test_a_spare_has_its_own_time_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Of which an answer that does not say changes nothing; silence does."""
    caplog.set_level(logging.INFO)
    time = over()
    script = (Answer(is_spare=True), Answer(), BROKEN, Answer(is_spare=False), Answer(SEAT))
    assert joined(Scripted(*script), time) == SEAT
    assert not time.is_spare
    assert "this node is a spare" in caplog.text
    assert "no longer a spare" in caplog.text


def test_who_was_evicted_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """It has its seat all the same."""
    assert joined(Scripted(Answer(was_evicted=True), Answer(SEAT, was_evicted=True))) == SEAT
    assert caplog.text.count("joined again") == 2


def test_other_errors_of_stores_pass_through() -> None:
    """Who keeps the run says what ends a join."""
    with pytest.raises(StoreError):
        joined(Scripted(StoreError("no")))
