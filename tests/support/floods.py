"""What one connection may send to keep a server busy, one flood of each kind.

flooding.py sends them. A flood prepares what it needs on its own connection, and is then one run of
bytes. `size` is how much of everything there is: keys, nodes, requests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from support import wire
from support.flooding import Flood, flood, measure, names
from support.wire import RawPeer, c10d, c10d_list, native_frame, native_string

__all__ = ["AS_A_WHOLE", "measure", "names"]

# What is done in one piece, so that readers see all of it or nothing (docs/limits.md).
AS_A_WHOLE = {"many_keys_at_once", "all_keys_that_one_request_may_set"}

SET, GET, ADD, CHECK, WAIT, DELETE_KEY = 3, 4, 6, 7, 8, 9
LIST_KEYS, MULTI_GET, MULTI_SET, CANCEL = 11, 13, 14, 15
QUEUE_PUSH, QUEUE_POP, BARRIER, WATCH, SET_FOR, DELETE_PREFIX, EXCHANGE = 16, 17, 19, 21, 23, 24, 25
WATCH_PREFIX = 36
JOIN, LEAVE, CLOSE_RUN, SUBSCRIBE, MEMBERS, RESUME = 26, 27, 29, 31, 32, 33
NO_TIMEOUT = 0xFFFFFFFF
C10D_LIST_KEYS = 17


_u32 = struct.Struct("<I").pack
_u64 = struct.Struct("<Q").pack


def _frames(operation: int, bodies: Iterator[bytes], first: int = 10) -> bytes:
    return b"".join(native_frame(operation, body, first + i) for i, body in enumerate(bodies))


def _key(number: int) -> bytes:
    return b"/many/%08d" % number


def _set_keys(count: int, value: bytes = b"v") -> list[bytes]:
    at_once = 10_000
    return [
        native_frame(
            MULTI_SET,
            _u32(len(part)) + b"".join(native_string(_key(i)) + native_string(value) for i in part),
        )
        for part in (range(i, min(i + at_once, count)) for i in range(0, count, at_once))
    ]


def _key_list(count: int) -> bytes:
    return _u32(count) + b"".join(native_string(_key(i)) for i in range(count))


def _node(number: int) -> bytes:
    return native_string(b"host%d" % number) + _u64(1) + _u64(0)


def _settings(nodes: int, spares: int = 0) -> bytes:
    return struct.pack("<IIQQI", nodes, nodes, 30_000, 3_600_000, 3)


def _join(number: int, nodes: int, run: bytes = b"run") -> bytes:
    return (
        _u32(NO_TIMEOUT)
        + native_string(run)
        + _node(number)
        + _settings(nodes)
        + _u64(0)
        + _u32(0)
        + _u32(number)
    )


def _joins(count: int, nodes: int) -> bytes:
    return _frames(JOIN, (_join(i, nodes) for i in range(count)), 1 << 20)


@flood
def lists_of_a_prefix_nobody_has(size: int) -> Flood:
    return Flood(_set_keys(size), _frames(LIST_KEYS, (native_string(b"/zz") for _ in range(1000))))


@flood
def lists_of_all_keys(size: int) -> Flood:
    return Flood(_set_keys(size), _frames(LIST_KEYS, (native_string(b"/") for _ in range(20))))


@flood
def watchers_that_are_told_all_keys(size: int) -> Flood:
    body = _u32(NO_TIMEOUT) + native_string(b"/") + _u64(0) + native_string(b"")
    return Flood(_set_keys(size), _frames(WATCH_PREFIX, iter([body] * 20)))


@flood
def prefixes_for_which_there_is_no_place(size: int) -> Flood:
    """1,024 others are waited for: each of those is looked at, and none can go."""

    def watch(prefix: bytes, position: int) -> bytes:
        return _u32(NO_TIMEOUT) + native_string(prefix) + _u64(position) + native_string(b"")

    def wait_for_others(peer: RawPeer) -> None:
        for i in range(1024):
            peer.send(native_frame(WATCH_PREFIX, watch(b"/waited/%d/" % i, 0), 10 + i))
            position = struct.unpack_from("<Q", peer.receive_frame()[3])[0]
            peer.send(native_frame(WATCH_PREFIX, watch(b"/waited/%d/" % i, position), 10_000 + i))

    refused = (watch(b"/refused/%d/" % i, 0) for i in range(min(size, 20_000)))
    sent = _frames(WATCH_PREFIX, refused, 1 << 20)
    return Flood([], sent, is_short=True, prepare=wait_for_others)


@flood
def writes_that_many_watched_prefixes_have(size: int) -> Flood:
    prefixes = (_key(0)[:length] for length in range(1, 9))
    watches = (_u32(0) + native_string(each) + _u64(0) + native_string(b"") for each in prefixes)
    sets = (native_string(_key(i)) + native_string(b"v") for i in range(size))
    return Flood([_frames(WATCH_PREFIX, watches)], _frames(SET, sets))


@flood
def deletions_of_a_prefix_nobody_has(size: int) -> Flood:
    bodies = (native_string(b"/zz") for _ in range(1000))
    return Flood(_set_keys(size), _frames(DELETE_PREFIX, bodies))


@flood
def deletion_of_all_keys(size: int) -> Flood:
    return Flood(_set_keys(size), native_frame(DELETE_PREFIX, native_string(b"/many")))


@flood
def many_keys_at_once(size: int) -> Flood:
    return Flood([], b"".join(_set_keys(size)))


@flood
def all_keys_that_one_request_may_set(size: int) -> Flood:
    count = min(size, 131_072)
    pairs = b"".join(native_string(_key(i)) + native_string(b"v") for i in range(count))
    return Flood([], native_frame(MULTI_SET, _u32(count) + pairs))


@flood
def reads_of_many_keys(size: int) -> Flood:
    keys = _key_list(min(size, 50_000))
    bodies = (_u32(0) + keys for _ in range(20))
    return Flood(_set_keys(size), _frames(MULTI_GET, bodies) + _frames(CHECK, iter([keys] * 20)))


@flood
def waits_for_many_keys_that_time_out(size: int) -> Flood:
    body = _u32(0) + _key_list(min(size, 50_000))
    return Flood([], _frames(WAIT, iter([body] * 20)))


@flood
def a_list_whose_first_key_comes_last(size: int) -> Flood:
    wait = native_frame(WAIT, _u32(NO_TIMEOUT) + _key_list(min(size, 50_000)), 9)
    gone = native_frame(DELETE_KEY, native_string(_key(0)))
    last = native_frame(SET, native_string(_key(0)) + native_string(b"v"))
    return Flood([*_set_keys(size), gone, wait], last, is_short=True)


@flood
def keys_that_expire_at_once(size: int) -> Flood:
    bodies = (_u64(300) + native_string(_key(i)) + native_string(b"v") for i in range(size))
    # Until they have gone: a wait for what never comes, with their time to live.
    wait = native_frame(WAIT, _u32(1000) + _u32(1) + native_string(b"/never"), 9)
    return Flood([], _frames(SET_FOR, bodies) + wait)


@flood
def barriers_of_many_sizes(size: int) -> Flood:
    count = min(size, 60_000)
    sizes = range(2 * count, count, -1)
    bodies = (_u32(NO_TIMEOUT) + native_string(b"/b") + _u64(each) for each in sizes)
    return Flood([], _frames(BARRIER, bodies))


@flood
def exchanges_that_time_out_at_once(size: int) -> Flood:
    world_size = min(size, 60_000)
    bodies = (
        _u32(0) + native_string(b"/x") + _u64(i) + _u64(world_size) + native_string(b"v")
        for i in range(2000)
    )
    return Flood([], _frames(EXCHANGE, bodies))


@flood
def waiters_that_wake_together(size: int) -> Flood:
    bodies = (_u32(NO_TIMEOUT) + native_string(b"/k") for _ in range(min(size, 60_000)))
    wake = native_frame(SET, native_string(b"/k") + native_string(b"v" * 100))
    return Flood([_frames(GET, bodies)], wake, is_short=True)


@flood
def readers_of_one_list_that_wake_together(size: int) -> Flood:
    body = _u32(NO_TIMEOUT) + _key_list(10)
    wake = native_frame(SET, native_string(_key(9)) + native_string(b"v"))
    return Flood(
        [*_set_keys(9), _frames(MULTI_GET, iter([body] * min(size, 60_000)))], wake, is_short=True
    )


@flood
def waiters_that_miss_another_key(size: int) -> Flood:
    bodies = (
        _u32(NO_TIMEOUT) + _u32(2) + native_string(b"/k") + native_string(b"/k%d" % i)
        for i in range(min(size, 60_000))
    )
    wake = native_frame(SET, native_string(b"/k") + native_string(b"v"))
    return Flood([_frames(WAIT, bodies)], wake, is_short=True)


@flood
def waiters_that_time_out_together(size: int) -> Flood:
    bodies = (_u32(500) + native_string(b"/k%d" % i) for i in range(min(size, 60_000)))
    wait = native_frame(WAIT, _u32(1000) + _u32(1) + native_string(b"/never"), 9)
    return Flood([], _frames(GET, bodies) + wait)


@flood
def waiters_that_hang_up(size: int) -> Flood:
    bodies = (_u32(NO_TIMEOUT) + native_string(b"/k%d" % i) for i in range(min(size, 60_000)))
    return Flood([_frames(GET, bodies)], b"", closes=True, is_short=True)


@flood
def request_ids_in_one_bucket(size: int) -> Flood:
    # The sizes of a hash table are primes of a known list; ids that are multiples of one of them
    # shared a bucket.
    body = _u32(NO_TIMEOUT) + native_string(b"/k")
    count = min(size, 60_000)
    return Flood([], b"".join(native_frame(GET, body, (i + 1) * 107_897) for i in range(count)))


@flood
def pages_of_members(size: int) -> Flood:
    count = min(size, 60_000)
    body = native_string(b"run") + b"\0" + _u32(0) + _u32(1000)
    none = native_string(b"run") + b"\1" + _u32(0) + _u32(1000)
    bodies = (each for _ in range(100) for each in (body, none))
    return Flood([_joins(count, count)], _frames(MEMBERS, bodies))


@flood
def a_round_that_completes(size: int) -> Flood:
    count = min(size, 60_000)
    late = native_frame(JOIN, _join(count, count))
    return Flood([_joins(count - 1, count)], late, is_short=True)


@flood
def a_run_that_is_closed(size: int) -> Flood:
    count = min(size, 60_000)
    closing = native_frame(CLOSE_RUN, native_string(b"run"))
    return Flood([_joins(count - 1, count)], closing, is_short=True)


@flood
def a_job_that_finishes(size: int) -> Flood:
    count = min(size, 60_000)
    leaves = [
        native_frame(LEAVE, native_string(b"run") + _node(i) + b"\0", (1 << 21) + i)
        for i in range(count)
    ]
    return Flood([_joins(count, count), *leaves[:-1]], leaves[-1], is_short=True)


@flood
def nodes_that_hang_up(size: int) -> Flood:
    count = min(size, 60_000)
    return Flood([_joins(count, count)], b"", closes=True, is_short=True)


def _arrival(key: bytes, rank: int, world_size: int) -> bytes:
    return _u32(0) + native_string(key) + _u64(rank) + _u64(world_size) + native_string(b"v")


def _slots(key: bytes, missing: int, world_size: int) -> list[bytes]:
    """All but so many of an exchange's ranks, the last of them, have come."""
    at_once = 10_000
    ranks = range(world_size - missing)
    pairs = [(b"%s/%d" % (key, rank), b"v" * 50) for rank in ranks]
    pairs += [(key, b"%d" % world_size), (key + b"/world_size", b"%d" % world_size)]
    return [
        native_frame(
            MULTI_SET,
            _u32(len(part)) + b"".join(native_string(each) for pair in part for each in pair),
        )
        for part in (pairs[i : i + at_once] for i in range(0, len(pairs), at_once))
    ]


@flood
def large_exchanges_of_some_keys(size: int) -> Flood:
    world_size = min(size, 131_072)
    keys = [b"/x%d" % i for i in range(4)]
    slots = [frame for key in keys for frame in _slots(key, 0, world_size)]
    bodies = (_arrival(key, 0, world_size) for _ in range(3) for key in keys)
    given = [native_frame(SET, native_string(key + b"/0") + native_string(b"v")) for key in keys]
    return Flood([*slots, *given], _frames(EXCHANGE, bodies))


@flood
def arrivals_at_an_exchange_that_lacks_one(size: int) -> Flood:
    world_size = min(size, 131_072)
    bodies = (_arrival(b"/x", i, world_size) for i in range(1000))
    return Flood(_slots(b"/x", 1, world_size), _frames(EXCHANGE, bodies))


@flood
def thirty_connections_that_ask_for_much_at_once(size: int) -> Flood:
    world_size = min(size, 131_072)
    slots = [
        *_slots(b"/x", 0, world_size),
        native_frame(SET, native_string(b"/x/0") + native_string(b"v")),
    ]
    # The last slot is set anew for each, so that nobody finds what another had made.
    again = native_frame(SET, native_string(b"/x/%d" % (world_size - 1)) + native_string(b"v"), 9)
    asked = native_frame(EXCHANGE, _arrival(b"/x", 0, world_size))
    return Flood(slots, again + asked, among=30, is_short=True)


@flood
def thirty_connections_that_set_many_keys_at_once(size: int) -> Flood:
    count = min(size // 20, 1_000)
    sets = b"".join(_set_keys(count))
    return Flood([], sets, among=30, is_short=True)


@flood
def subscribers_of_a_change(size: int) -> Flood:
    count = min(size, 30_000)
    bodies = (
        _u32(NO_TIMEOUT) + native_string(b"run") + _node(i) + _u64(1) + _u32(0) + b"\0"
        for i in range(count)
    )
    subscribed = _frames(SUBSCRIBE, bodies, 1 << 21)
    late = native_frame(JOIN, _join(count, count))
    return Flood([_joins(count, count), subscribed], late, is_short=True)


@flood
def resumes_of_large_rounds(size: int) -> Flood:
    bodies = (
        native_string(b"run%d" % i)
        + _node(0)
        + _settings(min(size, 131_072))
        + _u64(5)
        + _u32(0)
        + _u32(min(size, 131_072))
        + _u32(0)
        + _u32(i)
        for i in range(200)
    )
    return Flood([], _frames(RESUME, bodies))


@flood
def large_values(size: int) -> Flood:
    value = native_string(b"/large") + native_string(b"v" * min(size * 320, 64 << 20))
    read = _u32(0) + native_string(b"/large")
    return Flood([], _frames(SET, iter([value] * 3)) + _frames(GET, iter([read] * 3), 1000))


@flood
def items_of_a_queue(size: int) -> Flood:
    pops = (_u32(NO_TIMEOUT) + native_string(b"/q") for _ in range(min(size, 60_000)))
    pushes = (native_string(b"/q") + native_string(b"i") for _ in range(min(size, 60_000)))
    return Flood([], _frames(QUEUE_POP, pops) + _frames(QUEUE_PUSH, pushes, 1 << 21))


@flood
def c10d_lists_of_all_keys(size: int) -> Flood:
    at_once = 10_000
    sets = [
        c10d_list(
            wire.MULTI_SET, *(part for i in keys for part in (_key(i), b"v")), items=len(keys)
        )
        for keys in (range(i, min(i + at_once, size)) for i in range(0, size, at_once))
    ]
    return Flood(sets, bytes([C10D_LIST_KEYS]) * 20, is_c10d=True)


@flood
def c10d_reads_of_many_keys(size: int) -> Flood:
    keys = [_key(i) for i in range(min(size, 50_000))]
    reads = c10d_list(wire.MULTI_GET, *keys) + c10d_list(wire.CHECK, *keys)
    return Flood([c10d(wire.SET, _key(0), b"v")], reads * 20, is_c10d=True)


@flood
def c10d_waiters_that_wake_together(size: int) -> Flood:
    waits = c10d_list(wire.WAIT, b"/k") * min(size, 50_000)
    return Flood([waits], c10d(wire.SET, b"/k", b"v"), is_c10d=True, is_short=True)
