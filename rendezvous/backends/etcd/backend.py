"""The state of a run under one key of etcd, replaced by compare-and-set.

Owns the key's name and format: 16 bytes that name the write, then the state as it is. The name is
what makes a lost answer harmless: the same compare-and-set is sent again, and when it fails because
the first one had won, the name that is there is ours. Opening a client is open.py's work. Any
thread may call it, one call at a time.
"""

import os
from datetime import timedelta

from rendezvous._base.backend import RendezvousBackend, Token
from rendezvous._base.deadline import Deadline
from rendezvous._base.errors import RendezvousConnectionError, RendezvousStateError, StoreError
from rendezvous._coordination.coordinator import Coordinator, NodeSetup
from rendezvous.backends.etcd.client.client import EtcdClient
from rendezvous.backends.etcd.client.lease import KeptLease
from rendezvous.backends.etcd.client.wire import KeyValue, TxnResult, compare_mod, op_put, op_range
from rendezvous.backends.etcd.run.keys import MARKER, RunKeys
from rendezvous.backends.etcd.transport.errors import NOT_FOUND, EtcdRequestError

__all__ = ["DEFAULT_KEY_PREFIX", "EtcdRendezvousBackend"]

DEFAULT_KEY_PREFIX = "/torch/elastic/rendezvous"
_TTL_S = 7200
# Tells a state from what somebody else may have put at the key; changes with the format.
_MAGIC = b"rdz\x01"
_HEAD_BYTES = 16
# A lease that vanishes that often between being granted and being used is no accident.
_LEASE_ATTEMPTS = 3


class _Revision(int):
    """A token: the revision of the write that it belongs to."""


class EtcdRendezvousBackend(RendezvousBackend):
    """Keeps the state at `<key_prefix>/<run_id>`; the token is the key's modification revision.

    Args:
        client: of the cluster. Stays the caller's.
        run_id: not empty, else ValueError.
        key_prefix: default `/torch/elastic/rendezvous`.
        ttl: seconds (or a timedelta) after which the state is deleted when nobody writes it any
            more; default 7,200 s. Whole seconds, at least 2.
        name: under which it is registered, `etcd` or `etcd-v3`.
    """

    def __init__(
        self,
        client: EtcdClient,
        run_id: str,
        key_prefix: str | None = None,
        ttl: float | timedelta | None = None,
        *,
        name: str = "etcd",
    ) -> None:
        if not run_id:
            raise ValueError("the run id is empty; give every node of the job the same run id")
        prefix = DEFAULT_KEY_PREFIX if key_prefix is None else key_prefix
        self._client = client
        self._name = name
        self._run_id = run_id
        self._key_prefix = prefix
        self._key_text = f"{prefix.rstrip('/')}/{run_id}"
        self._key = self._key_text.encode()
        self._lease = KeptLease(client, _whole_seconds(ttl))
        self._timeout_s = client.timeout_s

    def __repr__(self) -> str:
        return f"<rendezvous.EtcdRendezvousBackend {self._key_text!r}>"

    @property
    def name(self) -> str:
        return self._name

    def coordinator(self, setup: NodeSetup) -> Coordinator:
        """A line to the same run that scales: a key for each node instead of one for all.

        Nodes that use it and nodes that replace the state do not meet; each are told so.
        """
        # It needs what is above a backend's contract only when it is asked for.
        from rendezvous.backends.etcd.run.run import EtcdRun

        keys = RunKeys(self._key_prefix, self._run_id)
        return EtcdRun(self._client, keys, setup, self._lease)

    def set_timeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def get_state(self) -> tuple[bytes, Token] | None:
        try:
            found = self._client.range(self._key, deadline=Deadline.after(self._timeout_s)).first
        except StoreError as error:
            raise self._unreachable("read", error) from error
        return None if found is None else (self._take(found), _Revision(found.mod_revision))

    def set_state(
        self, state: bytes, token: Token | None = None
    ) -> tuple[bytes, Token, bool] | None:
        if token is not None and not isinstance(token, _Revision):
            # Nobody can have read this token from here, so nothing may be written with it.
            answer = self.get_state()
            return None if answer is None else (*answer, False)
        write = _MAGIC + os.urandom(_HEAD_BYTES - len(_MAGIC))
        try:
            result = self._replace(write + state, 0 if token is None else int(token))
        except StoreError as error:
            raise self._unreachable("written", error) from error
        if result.succeeded:
            return state, _Revision(result.revision), True
        found = result.range(0).first
        if found is None:
            return None
        current = self._take(found)
        # Equal without being ours: what was wanted is there, whoever wrote it.
        won = found.value.startswith(write) or current == state
        return current, _Revision(found.mod_revision), won

    def _replace(self, value: bytes, revision: int) -> TxnResult:
        deadline = Deadline.after(self._timeout_s)
        for attempts_left in reversed(range(_LEASE_ATTEMPTS)):
            lease = self._lease.get(deadline)
            try:
                result = self._client.txn(
                    [compare_mod(self._key, revision)],
                    [op_put(self._key, value, lease=lease)],
                    [op_range(self._key)],
                    what=f"writing {self._key_text!r}",
                    deadline=deadline,
                    repeatable=True,
                )
            except EtcdRequestError as error:
                if error.code != NOT_FOUND or not attempts_left:
                    raise
                self._lease.forget(lease)
                continue
            if not result.succeeded:
                self._lease.give_back(lease, deadline)
            return result
        raise AssertionError("unreachable")

    def _take(self, found: KeyValue) -> bytes:
        """The state that was found, whose lease is used from now on."""
        state = self._decode(found)
        self._lease.adopt(found.lease)
        return state

    def _decode(self, found: KeyValue) -> bytes:
        if found.value == MARKER:
            raise RendezvousStateError(
                f"the run at {self._key_text!r} is kept with a key for each node (rulebook=auto); "
                "start all nodes with the same rulebook, or use another run id"
            )
        if len(found.value) < _HEAD_BYTES or not found.value.startswith(_MAGIC):
            raise RendezvousStateError(
                f"the value at {self._key_text!r} is not a rendezvous state; use another run id or "
                "key prefix, or delete that key"
            )
        return found.value[_HEAD_BYTES:]

    def _unreachable(self, done: str, error: StoreError) -> RendezvousConnectionError:
        return RendezvousConnectionError(
            f"the rendezvous state at {self._key_text!r} could not be {done}: {error}"
        )


def _whole_seconds(ttl: float | timedelta | None) -> int:
    if ttl is None:
        return _TTL_S
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else float(ttl)
    if not 0 < seconds < 2**31:
        raise ValueError(f"the ttl of the rendezvous state is {ttl!r}; it must be positive seconds")
    return -int(-seconds // 1)
