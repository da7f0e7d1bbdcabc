"""One node's copy of a group, when a signal's handler uses it in the middle of an exchange."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rendezvous import RendezvousBackend
from rendezvous._base.deadline import Deadline
from rendezvous._coordination.by_state.sync import StateSync
from rendezvous._core import Group, GroupSettings, Node

NODES = [Node(f"host{i}", i + 1, 0) for i in range(3)]
SETTINGS = GroupSettings(2, 9, 3600.0, 3600.0, 3)


class Interrupted(RendezvousBackend):
    """Keeps a state; a handler runs once at a point of an exchange."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.token = 0
        self.at = ""
        self.handler: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return "interrupted"

    def reach(self, point: str) -> None:
        if self.at == point:
            self.at = ""
            self.handler()

    def get_state(self) -> tuple[bytes, int] | None:
        self.reach("before reading")
        answer = None if self.state is None else (self.state, self.token)
        self.reach("after reading")
        return answer

    def set_state(
        self, state: bytes, token: object | None = None
    ) -> tuple[bytes, int, bool] | None:
        self.reach("before writing")
        written = token == (self.token or None)
        if written:
            self.state = state
            self.token += 1
        answer = None if self.state is None else (self.state, self.token, written)
        self.reach("after writing")
        return answer


@pytest.mark.parametrize(
    "point",
    ["before reading", "after reading", "in the operation", "before writing", "after writing"],
)
def test_a_handler_may_use_the_group_in_the_middle_of_an_exchange(point: str) -> None:
    """Both changes are there afterwards, wherever it came in between; neither waits for itself."""
    backend = Interrupted()
    sync = StateSync(backend, NODES[0], "run", 60.0)
    deadline = Deadline.after(60)

    def join(node: Node) -> Callable[[Group, float], None]:
        def operation(group: Group, now_s: float) -> None:
            group.join(node, SETTINGS, 0, now_s)
            backend.reach("in the operation")

        return operation

    sync.run(join(NODES[2]), deadline)
    backend.handler = lambda: sync.run(join(NODES[1]), deadline)
    backend.at = point
    sync.run(join(NODES[0]), deadline)
    stored = Group()
    stored.observe(backend.state, time.monotonic())
    everybody = {*stored.participants, *stored.waiting, *stored.spares}
    assert everybody == set(NODES)
