"""How long each member of a cluster is waited for."""

from __future__ import annotations

import pytest

from rendezvous._base.deadline import Deadline
from rendezvous.backends.etcd.client.members import Members
from rendezvous.backends.etcd.transport import Message
from rendezvous.backends.etcd.transport.endpoints import Endpoint, parse_endpoints
from rendezvous.backends.etcd.transport.errors import (
    EtcdConnectionError,
    EtcdTimeoutError,
    TransportError,
)


def granted_s(endpoints: str, *, changes: bool, repeatable: bool) -> float:
    """Of an hour, for the first attempt of a request."""
    found = []

    def lost_or_done(_: Endpoint, attempt: Deadline) -> Message:
        found.append(attempt.at_s - attempt.begin_s)
        if len(found) == 1:
            raise TransportError("lost", sent=True)
        return {}

    members = Members(parse_endpoints(endpoints)[0])
    deadline = Deadline.after(3600)
    if changes and not repeatable:
        with pytest.raises(EtcdConnectionError, match="may or may not have been applied"):
            members.ask(lost_or_done, "x", deadline, changes=changes, repeatable=repeatable)
    else:
        members.ask(lost_or_done, "x", deadline, changes=changes, repeatable=repeatable)
    return found[0]


@pytest.mark.parametrize(("changes", "repeatable"), [(False, False), (True, True)])
def test_another_connection_is_tried_where_that_may_help(changes: bool, repeatable: bool) -> None:
    """Sooner where there is another member."""
    alone_s = granted_s("a:1", changes=changes, repeatable=repeatable)
    assert granted_s("a:1,b:1", changes=changes, repeatable=repeatable) < alone_s < 60


def test_a_write_that_may_not_be_sent_again_has_all_the_time_at_the_only_member() -> None:
    """A slow one would make an unknown end of what is done a moment later."""
    assert granted_s("a:1", changes=True, repeatable=False) == pytest.approx(3600)
    assert granted_s("a:1,b:1", changes=True, repeatable=False) < 60


def test_the_reason_that_is_told_is_not_that_of_an_attempt_that_was_cut_off() -> None:
    """What the deadline cuts off says less than what failed before."""
    reasons = ["its certificate was rejected", "no answer to the handshake"]

    def refused_then_cut_off(_: Endpoint, attempt: Deadline) -> Message:
        if len(reasons) == 1:
            attempt.sleep(3600)
        raise TransportError(reasons.pop(0), sent=False)

    members = Members(parse_endpoints("a:1")[0])
    with pytest.raises(EtcdTimeoutError, match="its certificate was rejected"):
        members.ask(refused_then_cut_off, "x", Deadline.after(0.5), changes=False, repeatable=False)
    assert not reasons
