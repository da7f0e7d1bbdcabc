"""Whatever clients do to a store one after another, all of them see what a plain dict would hold.

The machine calls a store through several clients, and does the same to a model: a dict of values
and a dict of queues. Errors are part of the model. Clients come and go meanwhile; a store in a file
is compacted all the time, and at times everybody leaves it and comes back.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.etcd_kinds import Access, be_patient

from rendezvous import (
    FileStore,
    HashStore,
    PrefixStore,
    QueueEmptyError,
    Server,
    Store,
    StoreTimeoutError,
    StoreValueError,
    TCPStore,
)
from rendezvous.backends.etcd import EtcdStore

EXAMPLES = int(os.environ.get("RDZV_MODEL_EXAMPLES", "60"))
ETCD_IS_SLOWER = 12  # each step is some round trips and a write to disk
INT_MAX, INT_MIN = 2**63 - 1, -(2**63)
TIMEOUT_S = 60.0  # of connections; only a hang takes so long
COMPACT_BYTES = [1, 2_000, 1_000_000]
# Names beside the prefix of a PrefixStore, which it must neither show nor touch.
NEIGHBOURS = {b"in": b"1", b"in/ou": b"2", b"in/out": b"3", b"in/outer/x": b"4", b"a": b"5"}

# Some are the beginning of others.
ALL_KEYS = st.sampled_from(
    [b"", b"a", b"a/", b"a/b", b"ab", b"b", b"\x00", b"a\x00", b"\xff", b"\xff/a", "é".encode()]
)
# Of each run's few keys, so that operations meet.
KEYS = st.runner().flatmap(lambda machine: st.sampled_from(machine.keys))
VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"-7", b"007", b"1 ", b"+1", b"x", b"\x00\xff\n", b"v" * 3_000]),
    st.sampled_from([b"%d" % INT_MAX, b"%d" % INT_MIN, b"%d" % (INT_MAX + 1)]),
    st.binary(max_size=6),
)
AMOUNTS = st.one_of(st.integers(-3, 3), st.sampled_from([INT_MAX, INT_MIN]))
CLIENTS = st.integers(0, 2)
PREFIXES = st.one_of(ALL_KEYS, st.sampled_from([b"\xc3", b"a/b/c", b"in"]))


def number_in(value: bytes) -> int | None:
    """The decimal 64-bit number that a value is, if it is one."""
    if re.fullmatch(rb"-?[0-9]+", value) is None:
        return None
    number = int(value)
    return number if INT_MIN <= number <= INT_MAX else None


def shown(keys: list[bytes]) -> list[str]:
    """Keys as list_keys gives them."""
    return [key.decode("utf-8", "surrogateescape") for key in keys]


class StoreModel(RuleBasedStateMachine):
    """Clients of one store, and what the store must hold."""

    kind: ClassVar[str]
    access: ClassVar[Access]

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[bytes, bytes] = {}
        self.queues: defaultdict[bytes, deque[bytes]] = defaultdict(deque)
        # What a client was told of a key: its version, and the value that it had then.
        self.told: dict[bytes, tuple[int, bytes]] = {}
        self.used: dict[tuple[bytes, int], tuple[bytes, bytes]] = {}
        self.clients: list[Store] = []
        self.neighbours = NEIGHBOURS if self.is_prefixed else {}
        self.bases: list[Store] = []
        self.stack = ExitStack()

    @property
    def is_prefixed(self) -> bool:
        return self.kind.startswith("prefix")

    def base_maker(self) -> Callable[[], Store]:
        """What connects one more client to a store that is made here."""
        if self.kind.endswith("hash"):
            shared = HashStore()
            return lambda: shared
        if self.kind.endswith("etcd"):
            prefix = f"{self.access.prefix}{uuid.uuid4()}"
            return lambda: EtcdStore(self.access.client(), prefix, TIMEOUT_S)
        if self.kind.endswith("file"):
            folder = self.stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / "store"
            return lambda: FileStore(path, job_id="model")
        port = self.stack.enter_context(Server()).port

        def connect() -> Store:
            store = TCPStore("127.0.0.1", port, timeout=TIMEOUT_S)
            self.stack.callback(store.close)
            return store

        return connect

    def view(self, base: Store, client: int) -> Store:
        """A client's view of the store; the same name space can be reached in two ways."""
        if not self.is_prefixed:
            return base
        if client == 0:
            return PrefixStore("in/outer/more", base)
        return PrefixStore("more", PrefixStore("outer", PrefixStore("in", base)))

    @initialize(
        compact_bytes=st.sampled_from(COMPACT_BYTES),
        keys=st.lists(ALL_KEYS, min_size=2, max_size=4, unique=True),
    )
    def open(self, compact_bytes: int, keys: list[bytes]) -> None:
        self.keys = keys
        environment = self.stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("RENDEZVOUS_FILE_COMPACT_BYTES", str(compact_bytes))
        self.connect = self.base_maker()
        self.open_all()
        for key, value in self.neighbours.items():
            self.bases[0].set(key, value)

    def open_all(self) -> None:
        self.bases = [self.connect() for _ in range(3)]
        self.clients = [self.view(base, client) for client, base in enumerate(self.bases)]

    def teardown(self) -> None:
        try:
            if self.bases:
                held = {key: self.bases[-1].get(key, 0) for key in self.neighbours}
                assert held == self.neighbours
        finally:
            self.clients, self.bases = [], []
            self.stack.close()

    @rule(client=CLIENTS)
    def another_client(self, client: int) -> None:
        self.bases[client] = self.connect()
        self.clients[client] = self.view(self.bases[client], client)

    @rule(client=CLIENTS)
    def clone(self, client: int) -> None:
        self.clients[client] = self.clients[client].clone()
        twin = self.clients[client]
        if isinstance(twin, TCPStore):
            self.stack.callback(twin.close)

    @precondition(lambda self: self.kind.endswith("file"))
    @rule()
    def everybody_leaves_and_comes_back(self) -> None:
        self.clients, self.bases = [], []
        self.told, self.used = {}, {}  # versions are of a store that is in use
        self.open_all()

    @rule(client=CLIENTS, key=KEYS, value=VALUES)
    def set(self, client: int, key: bytes, value: bytes) -> None:
        self.clients[client].set(key, value)
        self.values[key] = value

    @rule(client=CLIENTS, key=KEYS)
    def get(self, client: int, key: bytes) -> None:
        if key in self.values:
            assert self.clients[client].get(key, 0) == self.values[key]
        else:
            with pytest.raises(StoreTimeoutError):
                self.clients[client].get(key, 0)

    def exchange(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, bool]:
        swapped = self.values.get(key, b"") == expected
        if swapped:
            self.values[key] = desired
        return self.values.get(key, b""), swapped

    @rule(client=CLIENTS, key=KEYS, hit=st.booleans(), other=VALUES, desired=VALUES)
    def compare_set(self, client: int, key: bytes, hit: bool, other: bytes, desired: bytes) -> None:
        expected = self.values.get(key, b"") if hit else other
        current, _ = self.exchange(key, expected, desired)
        answer = current if key in self.values else expected
        assert self.clients[client].compare_set(key, expected, desired) == answer

    @rule(client=CLIENTS, key=KEYS, hit=st.booleans(), other=VALUES, desired=VALUES)
    def compare_exchange(
        self, client: int, key: bytes, hit: bool, other: bytes, desired: bytes
    ) -> None:
        expected = self.values.get(key, b"") if hit else other
        answer = self.exchange(key, expected, desired)
        assert self.clients[client].compare_exchange(key, expected, desired) == answer

    @rule(client=CLIENTS, key=KEYS, amount=AMOUNTS)
    def add(self, client: int, key: bytes, amount: int) -> None:
        number = number_in(self.values.get(key, b"0"))
        if number is None or not INT_MIN <= number + amount <= INT_MAX:
            problem = (
                "is not a decimal 64-bit number" if number is None else "does not fit in 64 bits"
            )
            with pytest.raises(StoreValueError, match=problem):
                self.clients[client].add(key, amount)
        else:
            assert self.clients[client].add(key, amount) == number + amount
            self.values[key] = b"%d" % (number + amount)

    @rule(client=CLIENTS, key=KEYS, value=VALUES)
    def append(self, client: int, key: bytes, value: bytes) -> None:
        self.clients[client].append(key, value)
        self.values[key] = self.values.get(key, b"") + value

    @rule(client=CLIENTS, key=KEYS)
    def delete_key(self, client: int, key: bytes) -> None:
        """A queue of the same name stays."""
        assert self.clients[client].delete_key(key) is (key in self.values)
        self.values.pop(key, None)

    @rule(client=CLIENTS, keys=st.lists(KEYS, max_size=4))
    def check(self, client: int, keys: list[bytes]) -> None:
        there = all(key in self.values or self.queues[key] for key in keys)
        assert self.clients[client].check(keys) is there

    @rule(client=CLIENTS, keys=st.lists(KEYS, max_size=4), present=st.booleans())
    def multi_get(self, client: int, keys: list[bytes], present: bool) -> None:
        if present:
            keys = [key for key in keys if key in self.values]
        if all(key in self.values for key in keys):
            values = [self.values[key] for key in keys]
            assert self.clients[client].multi_get(keys, 0) == values
        else:
            with pytest.raises(StoreTimeoutError):
                self.clients[client].multi_get(keys, 0)

    @rule(client=CLIENTS, pairs=st.lists(st.tuples(KEYS, VALUES), max_size=4))
    def multi_set(self, client: int, pairs: list[tuple[bytes, bytes]]) -> None:
        self.clients[client].multi_set([key for key, _ in pairs], [value for _, value in pairs])
        self.values.update(pairs)

    @rule(client=CLIENTS, key=KEYS)
    def try_get(self, client: int, key: bytes) -> None:
        assert self.clients[client].try_get(key) == self.values.get(key)

    @rule(client=CLIENTS, key=KEYS)
    def watch(self, client: int, key: bytes) -> None:
        """Of a version that is not there: of nothing, or of a deleted key's last."""
        last = self.told.get(key, (1, b""))[0]
        if key not in self.values:
            assert self.clients[client].watch(key, last, 0) == (None, 0)
            with pytest.raises(StoreTimeoutError):
                self.clients[client].watch(key, 0, 0)
            return
        value, version = self.clients[client].watch(key, 0, 0)
        assert value == self.values[key]
        assert version > 0
        with pytest.raises(StoreTimeoutError):
            self.clients[client].watch(key, version, 0)
        # One version never stands for two values; on etcd, not for two of one key: what is set in
        # one moment has one revision.
        whose = key if self.kind.endswith("etcd") else b""
        assert self.used.setdefault((whose, version), (key, value)) == (key, value)
        self.told[key] = (version, value)

    @rule(client=CLIENTS, key=KEYS, value=VALUES, current=st.booleans())
    def set_if_version(self, client: int, key: bytes, value: bytes, current: bool) -> None:
        there = self.clients[0].watch(key, 0, 0)[1] if key in self.values else 0
        version = there if current else self.told.get(key, (2**63, b""))[0]
        now, swapped = self.clients[client].set_if_version(key, value, version)
        assert swapped is (version == there)
        if swapped:
            assert now not in (0, there)
            self.values[key] = value
        else:
            assert now == there

    @rule(client=CLIENTS, key=KEYS, value=VALUES)
    def set_for_long(self, client: int, key: bytes, value: bytes) -> None:
        self.clients[client].set(key, value, ttl=3600)
        self.values[key] = value

    @rule(client=CLIENTS, prefix=PREFIXES)
    def delete_prefix(self, client: int, prefix: bytes) -> None:
        doomed = [key for key in self.values if key.startswith(prefix)]
        assert self.clients[client].delete_prefix(prefix) == len(doomed)
        for key in doomed:
            del self.values[key]

    @rule(client=CLIENTS, key=KEYS, value=VALUES)
    def queue_push(self, client: int, key: bytes, value: bytes) -> None:
        self.clients[client].queue_push(key, value)
        self.queues[key].append(value)

    @rule(client=CLIENTS, key=KEYS)
    def queue_pop(self, client: int, key: bytes) -> None:
        if self.queues[key]:
            item = self.queues[key].popleft()
            assert self.clients[client].queue_pop(key, block=False) == item
        else:
            with pytest.raises(QueueEmptyError):
                self.clients[client].queue_pop(key, block=False)

    @rule(client=CLIENTS, key=KEYS)
    def queue_len(self, client: int, key: bytes) -> None:
        assert self.clients[client].queue_len(key) == len(self.queues[key])

    @rule(client=CLIENTS, prefix=PREFIXES)
    def list_keys(self, client: int, prefix: bytes) -> None:
        keys = sorted(key for key in self.values if key.startswith(prefix))
        assert self.clients[client].list_keys(prefix) == shown(keys)

    @invariant()
    def one_client_sees_the_model(self) -> None:
        """The others are left behind, so that they have several changes to catch up with."""
        client, keys = self.clients[0], sorted(self.values)
        assert client.list_keys() == shown(keys)
        assert client.multi_get(keys, 0) == [self.values[key] for key in keys]
        assert [client.queue_len(key) for key in self.keys] == [
            len(self.queues[key]) for key in self.keys
        ]

    @rule(client=CLIENTS)
    def num_keys(self, client: int) -> None:
        """A PrefixStore counts what is in the store below it."""
        assert self.clients[client].num_keys() == len(self.values) + len(self.neighbours)


BASES = ["hash", "tcp", "file", "etcd"]
KINDS = [*BASES, *(f"prefix-{base}" for base in BASES)]


@pytest.mark.parametrize("kind", KINDS)
def test_store_holds_what_a_dict_would(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any sequence of operations by several clients gives the model's answers and errors."""
    members: dict[str, object] = {"kind": kind}
    examples = EXAMPLES
    if kind.endswith("etcd"):
        members["access"] = request.getfixturevalue("etcd_access")("etcd")
        examples = max(1, EXAMPLES // ETCD_IS_SLOWER)
        # A look that a busy machine made too slow is an answer that depends on the time, which
        # Hypothesis takes for a strategy that does: its replay draws more, or less, than before.
        be_patient(monkeypatch)
    machine = type("StoreModel", (StoreModel,), members)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=50, deadline=None)
    )
