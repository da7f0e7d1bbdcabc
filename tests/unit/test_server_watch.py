"""The background of a node whose run the server keeps, against a server that is made up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.background import BACKSTOP_S, eventually

from rendezvous._base.deadline import Deadline
from rendezvous._base.join_time import JoinTime
from rendezvous._coordination.by_server.watch import Lookout, Watch
from rendezvous._coordination.coordinator import NodeSetup, Seat
from rendezvous._core import GroupSettings, Node
from rendezvous.errors import StoreConnectionError, StoreRestartedError

NODE = Node("host", 1, 1)
SETUP = NodeSetup("run", NODE, GroupSettings(1, 1, 1.0, 0.05, 3), 5.0, "nowhere")
FIRST, SECOND = Seat(1, 0, 1, NODE), Seat(2, 0, 1, NODE)


class MadeUp:
    """What a Watch asks of a RunClient."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.late = threading.Event()
        self.closed = threading.Event()
        self.beats = 0
        self.is_known = True
        self.is_restarted = False
        self.is_broken = False
        self.takes = True
        self.resumed: list[tuple[int, int, int]] = []

    def subscribe(self, round: int, changes: int, closed: bool, timeout: float) -> Any:
        if self.is_broken:
            self.is_broken = False
            raise StoreConnectionError("the connection was lost")
        if round == FIRST.round:
            self.asked.set()
            assert self.late.wait(BACKSTOP_S)
            return SimpleNamespace(active=False, changes=1, closed=False)
        self.closed.wait(timeout)
        return SimpleNamespace(active=self.is_known, changes=changes, closed=closed)

    def keep_alive(self, timeout: float) -> Any:
        del timeout
        self.beats += 1
        if self.is_restarted:
            self.is_restarted = False
            raise StoreRestartedError("restarted")
        return SimpleNamespace(known=self.is_known, changes=0, closed=False)

    def resume(self, round: int, rank: int, world_size: int, timeout: float) -> Any:
        del timeout
        self.resumed.append((round, rank, world_size))
        self.is_known = self.takes
        return SimpleNamespace(taken=self.takes, changes=0, closed=False)

    def status(self, timeout: float) -> Any:
        del timeout
        return SimpleNamespace(known=False)

    def close(self) -> None:
        self.late.set()
        self.closed.set()


@pytest.fixture
def server() -> MadeUp:
    return MadeUp()


@pytest.fixture
def watch(server: MadeUp) -> Iterator[Watch]:
    client: Any = server
    watch = Watch(client, SETUP)
    watch.start()
    yield watch
    watch.stop(Deadline.after(BACKSTOP_S))


def further_beats(server: MadeUp) -> None:
    beats = server.beats
    eventually("two more beats", lambda: server.beats >= beats + 2)


def test_a_signal_handler_may_give_up_the_place_that_its_thread_changes(
    watch: Watch, server: MadeUp
) -> None:
    """A shutdown in the middle of a request to leave does not wait for that request."""
    deadline = Deadline.after(BACKSTOP_S)
    with watch.holding_place(deadline):
        with watch.holding_place(deadline):
            watch.give_up()
        watch.take_seat(SECOND, 0, Deadline.after(BACKSTOP_S))
    further_beats(server)


def test_late_news_of_an_old_round_is_no_change_of_the_new_one(
    watch: Watch, server: MadeUp
) -> None:
    """The answer about the first round comes when the node is in the second already."""
    watch.take_seat(FIRST, 0, Deadline.after(BACKSTOP_S))
    assert server.asked.wait(BACKSTOP_S)
    client: Any = server
    lookout = Lookout(client, SETUP, JoinTime(Deadline.after(60), 60.0, 1.0))
    watch.begin_join(lookout, Deadline.after(60))
    watch.take_seat(SECOND, 0, Deadline.after(BACKSTOP_S))
    server.late.set()
    further_beats(server)
    assert (watch.view.role, watch.view.round, watch.view.changes) == ("active", 2, 0)


@pytest.mark.parametrize("fault", ["is_restarted", "is_broken"])
def test_a_node_takes_its_place_again_after_a(watch: Watch, server: MadeUp, fault: str) -> None:
    """New server or new connection: neither knows the node, and nobody is disturbed."""
    watch.take_seat(SECOND, 0, Deadline.after(BACKSTOP_S))
    further_beats(server)
    server.is_known = False
    setattr(server, fault, True)
    eventually("the resume", lambda: server.resumed == [(2, 0, 1)])
    further_beats(server)
    assert (watch.view.role, watch.view.changes) == ("active", 0)


def test_a_place_that_is_gone_is_a_change(watch: Watch, server: MadeUp) -> None:
    """The others went on without the node: it has to join again, and asks for its place once."""
    watch.take_seat(SECOND, 0, Deadline.after(BACKSTOP_S))
    server.takes = False
    server.is_known = False
    eventually("the change", lambda: watch.view.changes == 1)
    further_beats(server)
    assert watch.view.role == "absent"
    assert server.resumed == [(2, 0, 1)]


def test_a_node_that_gives_up_its_place_does_not_take_it_again(
    watch: Watch, server: MadeUp
) -> None:
    """Even if the server does not know it: that is what it wanted."""
    watch.take_seat(SECOND, 0, Deadline.after(BACKSTOP_S))
    further_beats(server)
    with watch.holding_place(Deadline.after(60)):
        server.is_known = False
        watch.give_up()
    further_beats(server)
    assert server.resumed == []
