"""How long a node waits for its place: join_timeout, and while it is a spare spare_timeout.

A spare has done its part: it depends on the others whether it gets a place, and that may take as
long as the job. So join_timeout applies only while the node is not a spare, and starts again when
it no longer is one. A spare whose store is silent does not know its role, and has join_timeout to
find out. Pure except for the clock; runs on the caller's thread.
"""

from rendezvous._base.deadline import Deadline

__all__ = ["JoinTime"]

# How long before its deadline a join looks once more who is there: at the deadline, all who gave up
# are gone.
_LAST_LOOK_S = 0.15


class JoinTime:
    """The time of one join. Its deadline moves when the node becomes a spare, or stops being
    one."""

    def __init__(self, deadline: Deadline, join_s: float, spare_s: float) -> None:
        """deadline: of the first part; connecting may have used some of it."""
        self._join_s = join_s
        self._spare_s = spare_s
        self._deadline = deadline
        self._outage: Deadline | None = None
        self.is_spare = False

    @property
    def deadline(self) -> Deadline:
        """When the join ends, in the current role."""
        return self._deadline.or_sooner(self._outage)

    @property
    def last_look(self) -> Deadline:
        """When to look once more who is there."""
        deadline = self.deadline
        return deadline.ahead(min(_LAST_LOOK_S, (deadline.at_s - deadline.begin_s) / 4))

    @property
    def timeout_s(self) -> float:
        """The whole time limit that applies now, for messages."""
        return self._spare_s if self.is_spare and self._outage is None else self._join_s

    def note(self, is_spare: bool) -> bool:
        """Record the node's role as the store says it; returns whether that is new."""
        self._outage = None
        if is_spare == self.is_spare:
            return False
        self.is_spare = is_spare
        self._deadline = Deadline.after(self._spare_s if is_spare else self._join_s)
        return True

    def note_outage(self) -> None:
        """The store does not answer."""
        if self.is_spare and self._outage is None:
            self._outage = Deadline.after(self._join_s)
