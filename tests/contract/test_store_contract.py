"""What every store does with values: one suite that all of them pass."""

from __future__ import annotations

import pytest
from support.stores import Stores, refused

from rendezvous import (
    HashStore,
    PrefixStore,
    Store,
    StoreError,
    StoreTimeoutError,
    StoreValueError,
)

KEY_BYTES_MAX = 16 * 1024
VALUE_BYTES_MAX = 64 * 1024 * 1024
INT_MAX, INT_MIN = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("text", "grüße", "grüße".encode()),
        (b"bytes", b"\x00\xff\n", b"\x00\xff\n"),
        ("schlüssel/☃", "", b""),
        (b"\x00\xff/\xfe", b"binary key", b"binary key"),
        ("", "the empty key", b"the empty key"),
        ("k" * 8191, b"v" * 100_000, b"v" * 100_000),
    ],
)
def test_get_returns_what_was_set(
    stores: Stores, key: str | bytes, value: str | bytes, read: bytes
) -> None:
    """Keys and values are text, stored as UTF-8, or any bytes; values come back as bytes."""
    stores.client().set(key, value)
    assert stores.client().get(key) == read


def test_text_and_bytes_name_the_same_key(store: Store) -> None:
    """A str key is its UTF-8 bytes."""
    store.set("ä", "1")
    assert store.get("ä".encode()) == b"1"


def test_set_replaces(store: Store) -> None:
    """The last value counts, and is not mixed with the one before."""
    store.set("k", "a long value")
    store.set("k", "short")
    assert store.get("k") == b"short"


def test_compare_set_creates_when_nothing_is_expected(store: Store) -> None:
    """A missing key with an empty expectation is set; the answer is the new value."""
    assert store.compare_set("k", "", "new") == b"new"
    assert store.get("k") == b"new"


def test_compare_set_on_a_missing_key_with_an_expectation_sets_nothing(store: Store) -> None:
    """A missing key with an expectation answers that expectation, and stays missing."""
    assert store.compare_set("k", "old", "new") == b"old"
    assert not store.check(["k"])


def test_compare_set_replaces_what_was_expected(store: Store) -> None:
    """The value is exchanged when it is the expected one."""
    store.set("k", b"\x00old")
    assert store.compare_set("k", b"\x00old", "new") == b"new"
    assert store.get("k") == b"new"


def test_compare_set_answers_the_current_value_when_it_differs(store: Store) -> None:
    """Another value than the expected one stays, and is the answer."""
    store.set("k", "other")
    assert store.compare_set("k", "old", "new") == b"other"
    assert store.compare_set("k", "", "new") == b"other"
    assert store.get("k") == b"other"


def test_compare_set_treats_an_empty_value_as_a_value(store: Store) -> None:
    """An empty value is there: it can be expected, and exchanged."""
    store.set("k", "")
    assert store.compare_set("k", "x", "new") == b""
    assert store.compare_set("k", "", "new") == b"new"


def test_compare_exchange_says_whether_it_swapped(store: Store) -> None:
    """The flag tells apart what the value alone does not: who wrote the desired value."""
    assert store.compare_exchange("k", "", "a") == (b"a", True)
    assert store.compare_exchange("k", "", "a") == (b"a", False)
    assert store.compare_exchange("k", "a", "a") == (b"a", True)
    assert store.compare_exchange("k", "x", "b") == (b"a", False)
    assert store.compare_exchange("k", "a", "b") == (b"b", True)
    assert store.compare_exchange("missing", "x", "y") == (b"", False)


def test_add_counts(store: Store) -> None:
    """A missing key counts as 0; the sum is stored as decimal text and may be negative."""
    assert store.add("n", 5) == 5
    assert store.add("n", -7) == -2
    assert store.get("n") == b"-2"
    assert store.add("n", 0) == -2
    assert store.add("zero", 0) == 0
    assert store.get("zero") == b"0"


def test_add_continues_from_a_number_that_was_set(store: Store) -> None:
    """A value that is a decimal number is one, whoever wrote it, and with how many zeros."""
    store.set("n", "41")
    assert store.add("n", 1) == 42
    store.set("zeros", "-" + "0" * 30 + "43")
    assert store.add("zeros", 1) == -42


@pytest.mark.parametrize(("limit", "beyond"), [(INT_MAX, 1), (INT_MIN, -1)])
def test_add_reaches_the_limits_of_64_bits_and_no_further(
    stores: Stores, store: Store, limit: int, beyond: int
) -> None:
    """A sum that does not fit is an error that changes nothing."""
    stores.skip_on_torch("wraps sums around")
    assert store.add("n", limit) == limit
    with refused(stores, StoreValueError, r"n'.* does not fit in 64 bits"):
        store.add("n", beyond)
    assert store.get("n") == str(limit).encode()
    assert store.add("n", -beyond) == limit - beyond


@pytest.mark.parametrize("value", ["text", "", "1.5", "0x10", " 1", "1 ", "9" * 19, b"\xff"])
def test_add_to_what_is_no_number_is_an_error_that_changes_nothing(
    stores: Stores, store: Store, value: str | bytes
) -> None:
    """The error names the key, the value stays, and the store goes on working."""
    if value in ("1.5", "0x10", " 1", "1 "):
        stores.skip_on_torch("takes the number that such a value begins with")
    store.set("k", value)
    before = store.get("k")
    with refused(stores, StoreValueError, r"add to key .*k'.* is not a decimal 64-bit number"):
        store.add("k", 1)
    assert store.get("k") == before
    assert store.add("other", 1) == 1


@pytest.mark.parametrize("amount", [INT_MAX + 1, INT_MIN - 1, 10**30])
def test_add_refuses_an_amount_that_does_not_fit(store: Store, amount: int) -> None:
    """The amount itself is limited to 64 bits."""
    with pytest.raises(StoreValueError, match=f"{amount} does not fit in 64 bits"):
        store.add("n", amount)


def test_check_looks_without_waiting(store: Store) -> None:
    """True only if all keys are there; no keys are all there."""
    assert store.check([])
    store.set("a", "")
    assert store.check(["a"])
    assert store.check(["a", "a"])
    assert not store.check(["a", "b"])
    assert not store.check(["b"])


def test_delete_key_says_whether_there_was_one(store: Store) -> None:
    """A deleted key is gone; deleting it again does nothing."""
    store.set("k", "v")
    assert store.delete_key("k") is True
    assert store.delete_key("k") is False
    assert not store.check(["k"])
    with pytest.raises(StoreTimeoutError):
        store.get("k", 0)


def test_num_keys_counts_what_is_there(store: Store) -> None:
    """Each key counts once, until it is deleted; failed operations leave nothing behind."""
    assert store.num_keys() == 0
    store.set("a", "1")
    store.set("a", "2")
    store.add("b", 1)
    store.multi_set(["c", "d"], ["", ""])
    store.compare_set("never", "x", "y")
    store.delete_key("d")
    assert store.num_keys() == 3


def test_append_creates_and_extends(store: Store) -> None:
    """Appending to a missing key creates it; otherwise the value grows at its end."""
    store.append("k", "one")
    store.append("k", b"\x00two")
    store.append("k", "")
    assert store.get("k") == b"one\x00two"


def test_multi_set_and_multi_get_keep_the_order(stores: Stores) -> None:
    """Values come back in the order of the keys asked for, repeated ones included."""
    stores.client().multi_set(["a", b"b", "c"], ["1", b"\xff", ""])
    assert stores.client().multi_get(["c", "a", "b", "a"]) == [b"", b"1", b"\xff", b"1"]


def test_multi_operations_on_no_keys_do_nothing(store: Store) -> None:
    """Empty lists are fine."""
    store.multi_set([], [])
    assert store.multi_get([]) == []
    assert store.num_keys() == 0


def test_multi_set_wants_as_many_values_as_keys(store: Store) -> None:
    """A pair without its other half is refused, and nothing is set."""
    with pytest.raises(StoreValueError, match="2 keys but 1 values"):
        store.multi_set(["a", "b"], ["1"])
    assert store.num_keys() == 0


def test_multi_set_takes_the_last_value_of_a_repeated_key(store: Store) -> None:
    """Pairs are applied in order."""
    store.multi_set(["a", "a"], ["1", "2"])
    assert store.get("a") == b"2"


def test_list_keys_is_sorted_and_takes_a_prefix(store: Store) -> None:
    """All keys that begin with the prefix, in order."""
    for key in ["b", "a/2", "a/10", "ab", "a"]:
        store.set(key, "")
    assert store.list_keys() == ["a", "a/10", "a/2", "ab", "b"]
    assert store.list_keys("a/") == ["a/10", "a/2"]
    assert store.list_keys(b"a") == ["a", "a/10", "a/2", "ab"]
    assert store.list_keys("x") == []


def test_list_keys_shows_keys_that_are_no_text(store: Store) -> None:
    """Bytes that are no UTF-8 come as surrogate escapes, so that no key is lost."""
    store.set(b"\xff\x00", "")
    [key] = store.list_keys()
    assert key.encode("utf-8", "surrogateescape") == b"\xff\x00"


def test_a_key_that_list_keys_returned_can_be_given_back(stores: Stores) -> None:
    """To every operation that takes keys, whatever bytes it has; and so can values be given."""
    store = stores.client()
    for name in (b"\xff", b"\xc3(\x80", b"a\xed\xa0\x80"):
        store.set(name, "v")
        [key] = store.list_keys()
        assert store.get(key) == b"v"
        assert store.try_get(key) == b"v"
        assert store.check([key, name])
        store.wait([key])
        assert store.multi_get([key, name]) == [b"v", b"v"]
        assert store.list_keys(key) == [key]
        store.append(key, "w")
        assert store.compare_set(key, "vw", "x") == b"x"
        store.multi_set([key], ["1"])
        assert store.add(key, 1) == 2
        assert store.get(name) == b"2"
        assert PrefixStore(key, store).num_keys() == 1
        if stores.has_versions:
            value, version = store.watch(key, 0)
            assert store.set_if_version(key, value or b"", version)[1]
        if stores.has_queues:
            store.queue_push(key, "item")
            assert store.queue_len(name) == 1
            assert store.queue_pop(key) == b"item"
        if not stores.speaks_to_torch:
            assert store.delete_prefix(key) == 1
        else:
            assert store.delete_key(key)
        assert not store.check([name])
    with pytest.raises(UnicodeEncodeError):
        store.set("\ud800", "")  # stands for no byte


def test_prefix_store_is_a_name_space_of_its_own(stores: Stores) -> None:
    """Prefixes end at the separator: 'a' does not see what belongs to 'ab'."""
    base = stores.client()
    a, ab = PrefixStore("a", base), PrefixStore("ab", base)
    a.set("x", "of a")
    ab.set("x", "of ab")
    assert (a.get("x"), ab.get("x")) == (b"of a", b"of ab")
    assert a.list_keys() == ["x"]
    assert base.list_keys() == ["a/x", "ab/x"]
    assert a.underlying_store is base
    assert a.num_keys() == 2


def test_errors_are_what_torch_users_catch() -> None:
    """Errors of stores are RuntimeErrors, timeouts TimeoutErrors, bad arguments ValueErrors."""
    store = HashStore()
    with pytest.raises(RuntimeError) as timeout:
        store.get("k", 0)
    assert isinstance(timeout.value, TimeoutError)
    assert isinstance(timeout.value, StoreError)
    with pytest.raises(ValueError, match="does not fit"):
        store.add("k", 2**64)
