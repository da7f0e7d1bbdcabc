"""The c10d backend: the state of a run under one key of any store that has `compare_set`.

Owns the key's format and nothing else: a sentinel for "nothing yet", and base64, because torch's
stores hand values to Python as text. connection.py opens the store. Called by one thread at a time.
"""

import base64
import binascii
import logging
from dataclasses import replace
from typing import Protocol

from rendezvous import _core
from rendezvous._base.api import KeyValueStore, RendezvousParameters
from rendezvous._base.backend import RendezvousBackend, Token
from rendezvous._base.errors import RendezvousConnectionError, RendezvousStateError
from rendezvous._stores.store import Store
from rendezvous.backends.connection import StoreConnection, open_store

__all__ = [
    "C10dRendezvousBackend",
    "create_backend",
    "decode_state",
    "open_backend",
    "shared_run_id",
    "state_key",
    "stored_text",
]

_log = logging.getLogger(__name__)

_SENTINEL = "Y2FuaW1hZGFt"
# A key that vanishes that often between two of our requests is no restart: somebody deletes it.
_CREATE_ATTEMPTS = 5


class CompareSetStore(Protocol):
    """The store methods that this backend calls; torch's stores have them, too."""

    def compare_set(self, key: str, expected: str, desired: str, /) -> bytes: ...


class C10dRendezvousBackend(RendezvousBackend):
    """Keeps the state at `torch.rendezvous.<run_id>`, as torch elastic does.

    The token is the stored text, as bytes.

    Args:
        store: any store with `compare_set` (ours, or one of torch's).
        run_id: not empty, else ValueError.
        connection: opened only for this backend, and closed with it. Only then may `set_timeout`
            change the store's timeout: other users of a shared store would not expect that.
        name: the name under which it is registered.
    """

    def __init__(
        self,
        store: CompareSetStore,
        run_id: str,
        connection: StoreConnection | None = None,
        *,
        name: str = "c10d",
    ) -> None:
        if not run_id:
            raise ValueError("the run id is empty; give every node of the job the same run id")
        self._store = store
        self._connection = connection
        self._name = name
        self._key = state_key(run_id)
        self._read()

    def __repr__(self) -> str:
        return f"<rendezvous.C10dRendezvousBackend {self._key!r} in {self._store!r}>"

    @property
    def name(self) -> str:
        return self._name

    @property
    def store(self) -> CompareSetStore:
        """What keeps the state."""
        return self._store

    def set_timeout(self, timeout_s: float) -> None:
        if self._connection is not None:
            self._connection.control.set_timeout(timeout_s)

    def get_state(self) -> tuple[bytes, Token] | None:
        current = self._read()
        return None if current == _SENTINEL else (self._decode(current), current.encode())

    def set_state(
        self, state: bytes, token: Token | None = None
    ) -> tuple[bytes, Token, bool] | None:
        desired = base64.b64encode(state).decode()
        if desired in (_SENTINEL, ""):
            raise ValueError(f"the state {state!r} cannot be stored: its encoding means 'no state'")
        if token is None:
            return self._create(desired)
        expected = _text_of(token)
        if expected is None:
            # Nobody can have read this token from here, so nothing may be written with it.
            answer = self.get_state()
            return None if answer is None else (*answer, False)
        if expected == desired:
            # A compare_set would answer the same whether the value is there or the key has
            # vanished; reading tells.
            return self._answer(self._read(), desired)
        current = self._compare_set(expected, desired)
        if current == expected:
            # The value was not replaced although it equals what we expected: only a missing key is
            # answered with the caller's own words. Saying so ends what would otherwise be retried
            # for ever.
            _log.warning("the rendezvous state at %r vanished from the store", self._key)
            current = self._read()
        return self._answer(current, desired)

    def _create(self, desired: str) -> tuple[bytes, Token, bool] | None:
        for _ in range(_CREATE_ATTEMPTS):
            for expected in (_SENTINEL, ""):
                # The sentinel as answer: in the first turn, the key has vanished; in the second,
                # somebody has just put the sentinel back.
                current = self._compare_set(expected, desired)
                if current != _SENTINEL:
                    return self._answer(current, desired)
        raise RendezvousConnectionError(
            f"cannot create the state at {self._key!r}: another client keeps deleting it"
        )

    def _read(self) -> str:
        # One round trip that never blocks and leaves the sentinel where nothing was. `get` would
        # block to the store's timeout on a key that has vanished, and `check` before it would cost
        # a round trip more.
        return self._compare_set("", _SENTINEL)

    def _compare_set(self, expected: str, desired: str) -> str:
        try:
            return self._store.compare_set(self._key, expected, desired).decode("latin-1")
        except (ValueError, RuntimeError, OSError) as error:
            raise RendezvousConnectionError(
                f"the rendezvous store failed to read or change {self._key!r}: {error}"
            ) from error

    def _answer(self, current: str, desired: str) -> tuple[bytes, Token, bool] | None:
        if current == _SENTINEL:
            return None
        return self._decode(current), current.encode(), current == desired

    def _decode(self, current: str) -> bytes:
        if current == _core.RUN_MARKER:
            raise RendezvousStateError(
                f"the run at {self._key!r} is kept by the store's server itself, and this node "
                "would keep its state by compare-and-set; all nodes of a run must do the same: "
                "start them with the same version and the same rulebook, 'server' or 'store'"
            )
        return decode_state(self._key, current)


def state_key(run_id: str) -> str:
    """Where a run's state is stored."""
    return f"torch.rendezvous.{run_id}"


def stored_text(store: Store, run_id: str) -> str | None:
    """The stored state of a run, as text; None if there is no such run, or no node has joined it
    yet.

    For observers: unlike a backend, it writes nothing. _core.RUN_MARKER for a run that the server
    keeps.
    """
    value = store.try_get(state_key(run_id))
    text = "" if value is None else value.decode("latin-1")
    return None if text in ("", _SENTINEL) else text


def decode_state(key: str, text: str) -> bytes:
    """The state that is stored at `key` as `text`. Raises RendezvousStateError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RendezvousStateError(
            f"the value at {key!r} is not a rendezvous state ({error}); use another run id, "
            "or delete that key"
        ) from error


def open_backend(params: RendezvousParameters) -> tuple[C10dRendezvousBackend, StoreConnection]:
    """Serve or reach the store of `params`, with the run's backend. Raises as `open_store`.

    Configuration, beside that of `open_store`:
        run_id_elsewhere: replaces `params.run_id` in a store that other jobs may use, too; empty:
            not known, which raises ValueError there.
    """
    if not params.run_id:
        raise ValueError("the run id is empty; give every node of the job the same run id")
    connection = open_store(params)
    try:
        elsewhere = params.get("run_id_elsewhere")
        if elsewhere is not None and not connection.is_of_one_job:
            params.run_id = shared_run_id(str(elsewhere), connection.endpoint)
        connection = replace(connection, run_id=params.run_id)
        backend = C10dRendezvousBackend(
            connection.control, params.run_id, connection, name=params.backend
        )
    except BaseException:
        connection.close()
        raise
    return backend, connection


def shared_run_id(found: str, where: str) -> str:
    """The run id in a store that other jobs may use. Raises ValueError if it is empty."""
    if found:
        return found
    raise ValueError(
        f"no node of the job serves the store at {where}, so other jobs may use it, too: give "
        "every node of this job the same run id (--run-id; torchrun: --rdzv-id), which no other "
        "job uses"
    )


def create_backend(params: RendezvousParameters) -> tuple[C10dRendezvousBackend, KeyValueStore]:
    """Like `open_backend`, for callers that want only the store.

    The connections, and the server if this process is its host, live as long as the backend.
    """
    backend, connection = open_backend(params)
    return backend, connection.store


def _text_of(token: Token) -> str | None:
    """The token as the stored text; None for a token that is not from this backend."""
    if not isinstance(token, bytes) or not token or not token.isascii():
        return None
    return token.decode()
