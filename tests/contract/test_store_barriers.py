"""What barriers and clones mean: one suite that every store passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.background import Background, eventually
from support.stores import Stores, not_there, refused

from rendezvous import (
    Barrier,
    Store,
    StoreLimitError,
    StoreTimeoutError,
    StoreValueError,
)


def has_own_timeout(kind: str) -> bool:
    """A HashStore is its own clone."""
    return not kind.endswith(("hash", "duck"))


@pytest.mark.parametrize("shared", [False, True], ids=["own clients", "one client"])
def test_barrier_opens_when_all_have_come(stores: Stores, shared: bool) -> None:
    """Not earlier; for threads of one client and for several clients; the key counts them."""
    count = 8
    one = stores.client()
    clients = [one if shared else stores.client() for _ in range(count - 1)]
    entering = [Background(client.barrier, "b", count) for client in clients]
    entering[-1].let_block()
    assert all(e.running for e in entering)
    one.barrier("b", count)
    for e in entering:
        e.result()
    assert one.get("b") == str(count).encode()


def test_barrier_of_one_and_second_barrier(store: Store) -> None:
    """A barrier of one opens at once; another key is another barrier."""
    store.barrier("b", 1, 0)
    store.barrier("c", 1)
    with pytest.raises(StoreTimeoutError):
        store.barrier("d", 2, 0)


def test_who_times_out_alone_and_comes_again_does_not_pass_for_two(stores: Stores) -> None:
    """The error says how many had come."""
    store = stores.client()
    for _ in range(3):
        error = not_there(lambda: store.barrier("b", 2, 0.01))
        assert re.search(r"barrier timeout .*: 1 of 2 .*b'", str(error))
        assert (error.keys, error.ranks) == (["b"], [])
    # Over torch's protocol it stays counted, once.
    assert store.get("b") == (b"1" if stores.speaks_c10d else b"0")
    waiting = Background(stores.client().barrier, "b", 2)
    store.barrier("b", 2)
    waiting.result()
    assert store.get("b") == b"2"


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_a_caller_too_many_is_told_that_the_key_was_used(stores: Stores, world_size: int) -> None:
    """And it is not counted."""
    store = stores.client()
    callers = [Background(stores.client().barrier, "b", world_size) for _ in range(world_size)]
    for caller in callers:
        caller.result()
    for _ in range(2):
        with pytest.raises(StoreValueError, match=r"used before.* new key for each barrier"):
            store.barrier("b", world_size)
    assert store.get("b") == str(world_size).encode()


def test_another_world_size_is_refused(stores: Stores) -> None:
    """Before all have come, and after; with ranks and without."""
    store = stores.client()
    store.barrier("b", 1)
    waiting = Background(stores.client().barrier, "c", 2)
    # Not by wait, which torch's server without libuv does not end for what a compare_set makes.
    eventually("c/world_size", lambda: store.check(["c/world_size"]))
    stores.client().barrier("r", 1, rank=0)
    calls: list[Callable[[], None]] = [
        lambda: store.barrier("b", 2),
        lambda: store.barrier("c", 3),
        lambda: store.barrier("r", 2, rank=1),
    ]
    for call in calls:
        with pytest.raises(StoreValueError, match=r"the others' world_size is \d, not \d; .*used"):
            call()
    store.barrier("c", 2)
    waiting.result()


def test_ranks_pass_when_all_have_come(stores: Stores) -> None:
    """Not earlier; for threads of one client and for several clients."""
    one = stores.client()
    clients = [one, one, stores.client(), stores.client()]
    entering = [
        Background(client.barrier, "b", 5, rank=rank) for rank, client in enumerate(clients)
    ]
    entering[-1].let_block()
    assert all(e.running for e in entering)
    one.barrier("b", 5, rank=4)
    for e in entering:
        e.result()
    assert one.get("b") == b"5"


def test_a_rank_that_comes_again_counts_once(stores: Stores) -> None:
    """However often it times out, it does not pass alone, and it is not missing."""
    store = stores.client()
    for _ in range(3):
        error = not_there(lambda: store.barrier("b", 3, 0.01, rank=1))
        assert re.search(r"2 of 3 ranks .*b': 0, 2\b", str(error))
        assert (error.keys, error.ranks) == (["b"], [0, 2])
    waiting = [Background(stores.client().barrier, "b", 3, rank=rank) for rank in (0, 1)]
    waiting[1].let_block()
    assert all(each.running for each in waiting)
    stores.client().barrier("b", 3, rank=2)
    for each in waiting:
        each.result()
    assert store.get("b") == b"3"


def test_a_rank_whose_time_was_over_passes_when_the_others_have(stores: Stores) -> None:
    """It had come, so they did not wait for it; once it has passed, it may not pass again."""
    store = stores.client()
    not_there(lambda: store.barrier("b", 2, 0, rank=0))
    stores.client().barrier("b", 2, rank=1)
    store.barrier("b", 2, rank=0)
    for rank in (0, 1):
        with pytest.raises(StoreValueError, match=rf"rank {rank} has passed round 1 .*used before"):
            store.barrier("b", 2, rank=rank)


def test_all_who_time_out_name_the_same_ranks(stores: Stores) -> None:
    """Who has given up before is not among those that are missing."""
    clients = {rank: stores.client() for rank in (0, 1, 3, 4)}

    def give_up(rank: int) -> list[int]:
        return not_there(lambda: clients[rank].barrier("b", 6, 0, rank=rank)).ranks

    for _ in range(2):
        missing = [give_up(rank) for rank in clients]
    assert missing == [[2, 5]] * 4


def test_rounds_take_turns_at_one_key(stores: Stores) -> None:
    """A rank passes a round only when all have arrived at it, and keys do not become more."""
    world_size, rounds = 4, 6
    store = stores.client()
    passed = [0] * world_size

    def run(rank: int) -> None:
        barrier = Barrier(stores.client(), "turns", rank, world_size)
        for number in range(1, rounds + 1):
            passed[rank] = number  # is about to pass it
            barrier.wait()
            assert min(passed) >= number
            assert barrier.round == number

    for each in [Background(run, rank) for rank in range(world_size)]:
        each.result()
    assert store.num_keys() <= world_size + 2


def test_who_is_ahead_disturbs_nobody_who_still_leaves(stores: Stores) -> None:
    """Ranks 0 and 1 pass round 1; rank 0 waits in round 2 already when rank 2 wants its answer."""
    store = stores.client()
    not_there(lambda: store.barrier("b", 3, 0, rank=2, round=1))
    first = Background(stores.client().barrier, "b", 3, rank=0, round=1).let_block()
    stores.client().barrier("b", 3, rank=1, round=1)
    first.result()
    ahead = Background(stores.client().barrier, "b", 3, rank=0, round=2)
    eventually("it waits in round 2", lambda: store.get("b") == b"4")
    store.barrier("b", 3, rank=2, round=1)
    error = not_there(lambda: store.barrier("b", 3, 0, rank=2, round=2))
    assert re.search(r"round 2 of key .*b'", str(error))
    assert error.ranks == [1]
    assert ahead.running
    stores.client().barrier("b", 3, rank=1, round=2)
    ahead.result()
    store.barrier("b", 3, rank=2, round=2)


@pytest.mark.parametrize(
    ("rank", "round", "message"),
    [
        (0, 3, "arrives at round 3, but its last round was 1"),
        (1, 2, "arrives at round 2, but its last round was none"),
        (2, 1, "rank 2 is not between 0 and 1"),
        (-1, 1, "rank -1 is not between 0 and 1"),
        (0, 0, "rounds start at 1"),
        (None, 2, "round needs rank"),
    ],
)
def test_rounds_and_ranks_that_cannot_be_are_refused(
    stores: Stores, rank: int | None, round: int, message: str
) -> None:
    """A rank that skips a round would let the others through too early."""
    store = stores.client()
    not_there(lambda: store.barrier("b", 2, 0, rank=0))
    with pytest.raises(StoreValueError, match=message):
        store.barrier("b", 2, rank=rank, round=round)
    assert store.get("b") == b"1"


@pytest.mark.parametrize("rank", [None, 0])
def test_a_key_that_leaves_no_room_for_those_of_a_barrier_is_refused(
    store: Store, rank: int | None
) -> None:
    """What is kept below it has longer keys, which must not be too long for anybody."""
    with pytest.raises(StoreLimitError):
        store.barrier("k" * (16 * 1024 - 5), 1, 0, rank=rank)
    assert store.num_keys() == 0


def test_a_barrier_object_of_another_job_is_told(stores: Stores) -> None:
    """It begins with round 1, which its rank has passed: an error, and no wrong pass."""
    old = [Barrier(stores.client(), "b", rank, 2) for rank in range(2)]
    for _ in range(3):
        waiting = Background(old[0].wait)
        old[1].wait()
        waiting.result()
    with pytest.raises(StoreValueError, match=r"arrives at round 1.* last round was 3; .*used"):
        Barrier(stores.client(), "b", 0, 2).wait()
    with pytest.raises(StoreValueError, match="rank 2 is not between 0 and 1"):
        Barrier(stores.client(), "b", 2, 2)


def test_barrier_at_what_is_no_number(stores: Stores) -> None:
    """An error, and the value stays."""
    store = stores.client()
    store.set("b", "word")
    with refused(stores, StoreValueError, "'word' is not a decimal 64-bit number"):
        store.barrier("b", 2)
    assert store.get("b") == b"word"


@pytest.mark.parametrize("world_size", [0, -1])
def test_barrier_of_nobody_is_refused(store: Store, world_size: int) -> None:
    """Without counting the caller."""
    with pytest.raises(ValueError, match=rf"world_size is {world_size}; .* at least 1"):
        store.barrier("b", world_size)
    assert not store.check(["b"])


def test_clone_is_the_same_store(stores: Stores) -> None:
    """It has the same keys and queues, the timeout of its origin, and then one of its own."""
    store = stores.client()
    store.set_timeout(7)
    clone = store.clone()
    assert type(clone) is type(store)
    assert clone.timeout == timedelta(seconds=7)
    clone.set("k", "v")
    assert store.get("k") == b"v"
    if stores.has_queues:
        clone.queue_push("q", "item")
        assert store.queue_pop("q") == b"item"
    if has_own_timeout(stores.kind):
        clone.set_timeout(9)
        assert store.timeout == timedelta(seconds=7)


def test_clone_works_while_its_origin_is_blocked(stores: Stores) -> None:
    """And the other way round; a clone of a clone too."""
    store = stores.client()
    clone = store.clone()
    getting = Background(store.get, "a").let_block()
    clone.clone().set("a", "1")
    assert getting.result() == b"1"
    getting = Background(clone.get, "b").let_block()
    store.set("b", "2")
    assert getting.result() == b"2"


def test_extended_api_is_there(store: Store) -> None:
    """What torch asks before it uses append, multi_get and multi_set."""
    assert store.has_extended_api()
