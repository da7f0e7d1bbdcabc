"""What every rendezvous backend does: one suite that all of them pass, over every store they take.

A new backend gets a `Place` of its own below. Rows that only the c10d format has come last.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.backends import written
from support.etcd_kinds import CLUSTER_KINDS, Access

from rendezvous import (
    C10dRendezvousBackend,
    FileStore,
    HashStore,
    RendezvousBackend,
    RendezvousStateError,
    Store,
    TCPStore,
)
from rendezvous.backends.etcd import EtcdRendezvousBackend

RUN = "run/with strange:name"
KEY = f"torch.rendezvous.{RUN}"
SENTINEL = "Y2FuaW1hZGFt"
STATES = [b"state", b"\n", b"\x00\xff" * 10, b"x" * 200_000]


class Place:
    """Where a backend under test keeps its state, and what a test may do to it behind its back."""

    name = "c10d"
    key = KEY

    def __init__(self, store: Store) -> None:
        self.store = store

    def backend(self, run_id: str = RUN) -> RendezvousBackend:
        return C10dRendezvousBackend(self.store, run_id)

    def be_patient(self) -> None:
        self.store.set_timeout(timedelta(hours=1))

    def vanish(self) -> None:
        assert self.store.delete_key(KEY)

    def corrupt(self, value: str | bytes) -> None:
        self.store.set(KEY, value)

    def raw(self) -> bytes:
        return self.store.get(KEY)


class EtcdPlace(Place):
    """A cluster for all tests: a key prefix for each."""

    name = "etcd"

    def __init__(self, access: Access) -> None:
        self.prefix = f"{access.prefix}{uuid.uuid4()}"
        self.key = f"{self.prefix}/{RUN}"
        self.client = access.client()

    def backend(self, run_id: str = RUN) -> RendezvousBackend:
        return EtcdRendezvousBackend(self.client, run_id, self.prefix)

    def be_patient(self) -> None:
        self.client.timeout_s = 3600.0

    def vanish(self) -> None:
        assert self.client.delete(self.key.encode()) == 1

    def corrupt(self, value: str | bytes) -> None:
        self.client.put(self.key.encode(), value.encode() if isinstance(value, str) else value)

    def raw(self) -> bytes:
        return self.client.range(self.key.encode()).kvs[0].value


@pytest.fixture(params=["hash", "file", "tcp", "tcp-token", "tcp-tls", "etcd", *CLUSTER_KINDS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "hash":
        return Place(HashStore())
    if request.param == "file":
        return Place(FileStore(tmp_path / "store"))
    if request.param.startswith("etcd"):
        return EtcdPlace(request.getfixturevalue("etcd_access")(request.param))
    request.getfixturevalue("set_credentials")(request.param)
    connect: Callable[..., TCPStore] = request.getfixturevalue("connect")
    return Place(connect())


@pytest.fixture
def backend(place: Place) -> RendezvousBackend:
    return place.backend()


def test_the_name_is_the_registered_one(place: Place) -> None:
    """Handlers and launchers compare it."""
    assert place.backend().name == place.name


def test_at_first_there_is_no_state(backend: RendezvousBackend) -> None:
    """And asking does not make one."""
    assert backend.get_state() is None
    assert backend.get_state() is None


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_is_created_can_be_read(place: Place, state: bytes) -> None:
    """By another node, with the token that the writer has."""
    token = written(place.backend().set_state(state))
    assert place.backend().get_state() == (state, token)


def test_creating_where_a_state_is_answers_with_that_state(place: Place) -> None:
    """The second of two creators learns what the first made, and can write with that token."""
    token = written(place.backend().set_state(b"first"))
    second = place.backend()
    assert second.set_state(b"second") == (b"first", token, False)
    written(second.set_state(b"third", token))


def test_the_current_token_replaces_the_state(backend: RendezvousBackend) -> None:
    """And the answer has the token for the next write."""
    token = written(backend.set_state(b"1"))
    for state in (b"2", b"3", b"4"):
        token = written(backend.set_state(state, token))
        assert backend.get_state() == (state, token)


def test_a_token_that_was_read_is_as_good_as_one_that_was_written(place: Place) -> None:
    """Any node may change what it has read."""
    place.backend().set_state(b"1")
    read = place.backend().get_state()
    assert read is not None
    assert read[0] == b"1"
    written(place.backend().set_state(b"2", read[1]))


def test_a_stale_token_changes_nothing_and_brings_back_what_is_there(place: Place) -> None:
    """The fence: who has not seen the last write cannot overwrite it."""
    stale = written(place.backend().set_state(b"1"))
    current = written(place.backend().set_state(b"2", stale))
    assert place.backend().set_state(b"mine", stale) == (b"2", current, False)
    assert place.backend().get_state() == (b"2", current)


def test_a_stale_token_wins_if_what_is_there_is_what_was_to_be_written(place: Place) -> None:
    """A write whose answer got lost may be sent again."""
    stale = written(place.backend().set_state(b"1"))
    current = written(place.backend().set_state(b"2", stale))
    assert place.backend().set_state(b"2", stale) == (b"2", current, True)


def test_writing_what_is_there_with_its_own_token_is_a_write(backend: RendezvousBackend) -> None:
    """Nothing changes, and nothing failed."""
    token = written(backend.set_state(b"1"))
    written(backend.set_state(b"1", token))
    state = backend.get_state()
    assert state is not None
    assert state[0] == b"1"
    written(backend.set_state(b"2", state[1]))


@pytest.mark.parametrize("token", ["a str", 17, object(), b"", b"\xff\xfe"])
def test_a_token_of_another_making_only_reads(place: Place, token: object) -> None:
    """It cannot have been read here, so nothing may be written with it."""
    backend = place.backend()
    assert backend.set_state(b"new", token) is None
    current = written(backend.set_state(b"1"))
    assert backend.set_state(b"new", token) == (b"1", current, False)


def test_a_token_without_state_behind_it_is_told(backend: RendezvousBackend) -> None:
    """Nobody wrote anything: there is nothing that the token could belong to."""
    assert backend.set_state(b"new", b"bm8gc3RhdGU=") is None
    assert backend.get_state() is None


def test_a_vanished_state_reads_as_none_at_once(place: Place) -> None:
    """After a store lost its data nobody waits for the store's timeout."""
    backend = place.backend()
    backend.set_state(b"1")
    place.be_patient()
    place.vanish()
    assert backend.get_state() is None


@pytest.mark.parametrize("state", [b"1", b"2"])
def test_a_write_to_a_vanished_state_is_told_that_nothing_is_there(
    place: Place, state: bytes
) -> None:
    """Even when it would write the very state that vanished; it must not retry for ever."""
    backend = place.backend()
    token = written(backend.set_state(b"1"))
    place.vanish()
    assert backend.set_state(state, token) is None
    assert backend.get_state() is None


def test_a_vanished_state_can_be_created_again(place: Place) -> None:
    """With a key that is gone as well as with one that somebody has looked at since."""
    backend = place.backend()
    backend.set_state(b"1")
    place.vanish()
    token = written(backend.set_state(b"2"))
    assert backend.get_state() == (b"2", token)
    place.vanish()
    assert backend.get_state() is None
    written(backend.set_state(b"3"))


def test_runs_do_not_see_each_other(place: Place) -> None:
    """Run ids share a store."""
    place.backend().set_state(b"1")
    assert place.backend(f"{RUN}2").get_state() is None


def test_what_is_no_state_is_refused_by_name_of_its_key(place: Place) -> None:
    """Junk is neither read nor overwritten."""
    backend = place.backend()
    token = written(backend.set_state(b"1"))
    for junk in ("not base64!", "YQ", "YQ==\n", "Y Q = =", b"\xff\xfe", "YQ==YQ=="):
        place.corrupt(junk)
        for act in (
            backend.get_state,
            lambda: backend.set_state(b"2"),
            lambda: backend.set_state(b"2", token),
        ):
            with pytest.raises(RendezvousStateError, match=re.escape(place.key)):
                act()
        assert place.raw() == (junk.encode() if isinstance(junk, str) else junk)
