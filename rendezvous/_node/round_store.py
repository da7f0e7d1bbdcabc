"""A key space for each round, in the run's store, and its removal afterwards.

Keys of one round must not be seen in another: old communicator ids and addresses would be mistaken
for new ones. So the name of a space has the round's number and the identity of its rank 0, and no
later job uses it again. An index lists the spaces of a run until they are deleted. All in the
store:

rendezvous.rounds/RUN/ROUND-ID/KEY    of one round
rendezvous.rounds/RUN/index/ROUND-ID  that there is such a space
"""

from collections.abc import Iterable
from urllib.parse import quote

from rendezvous._base.api import KeyValueStore
from rendezvous._base.deadline import Deadline
from rendezvous._coordination.coordinator import Seat
from rendezvous._stores.prefix import PrefixStore

__all__ = [
    "forget_rounds",
    "note_round",
    "place_of",
    "place_of_index",
    "round_store",
    "space_of",
    "spaces_up_to",
]


def round_store(store: KeyValueStore, run_id: str, seat: Seat) -> PrefixStore:
    """The part of `store` that belongs to the round of one run in which a node has this seat.

    Raises the store's errors; RuntimeError if rank 0 has left and its round's keys are gone.
    """
    if seat.rank_0 is not None:
        return PrefixStore(place_of(run_id, space_of(seat)), store)
    found = [each for each in _index(store, run_id).list_keys() if _number(each) == seat.round]
    if not found:
        raise RuntimeError(f"rank 0 has left, and nothing of round {seat.round} is stored")
    return PrefixStore(place_of(run_id, found[-1]), store)


def note_round(store: KeyValueStore, run_id: str, seat: Seat) -> None:
    """Put the round's space into the index, before the space has any key."""
    _index(store, run_id).set(space_of(seat), b"")


def forget_rounds(store: KeyValueStore, run_id: str, last: int, deadline: Deadline) -> None:
    """Delete the keys of the run's rounds up to `last`, as far as there is time.

    Raises what the store does.
    """
    index = _index(store, run_id)
    for space in spaces_up_to(last, index.list_keys()):
        if deadline.is_over:
            return
        PrefixStore(place_of(run_id, space), store).delete_prefix("")
        # The last: whoever is interrupted leaves it to the next one.
        index.delete_key(space)


# The same rules for who waits in another way (rendezvous.aio).


def spaces_up_to(last: int, index: Iterable[str]) -> list[str]:
    """Those of the index that rounds up to `last` have left."""
    return [space for space in index if 0 < _number(space) <= last]


def place_of(run_id: str, space: str) -> str:
    """The prefix of a round's space."""
    return f"{_of_run(run_id)}/{space}"


def place_of_index(run_id: str) -> str:
    """The prefix of the run's index, whose keys are the names of its spaces."""
    return f"{_of_run(run_id)}/index"


def space_of(seat: Seat) -> str:
    """The name of the round's space."""
    assert seat.rank_0 is not None
    return f"{seat.round}-{seat.rank_0.local_id:x}"


def _of_run(run_id: str) -> str:
    # Escaped, so that no run is within another one.
    return f"rendezvous.rounds/{quote(run_id, safe='')}"


def _index(store: KeyValueStore, run_id: str) -> PrefixStore:
    return PrefixStore(place_of_index(run_id), store)


def _number(space: str) -> int:
    """The round's number; 0 for any other name."""
    number = space.partition("-")[0]
    return int(number) if number.isdecimal() else 0
