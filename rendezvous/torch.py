"""Our stores as stores of torch. Imports torch.

store = rendezvous.torch.as_torch_store(rendezvous.open_store("tcp://node0:29400"))
torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from rendezvous._base.errors import StoreConnectionError, StoreError, StoreTimeoutError
from rendezvous._stores.store import Store

__all__ = ["TorchStore", "as_torch_store", "mixed_with"]

# C++ may hold the part of a store that is its own after Python has let go of the rest, and would
# call what is no longer there: they live as long as the process.
_kept: list[TorchStore] = []
_mixed_classes: dict[tuple[type[Exception], type[Exception]], type[Exception]] = {}
_views: dict[int, TorchStore] = {}  # by the id() of their stores, which live as long


def as_torch_store(store: Store) -> dist.Store:
    """`store` as a torch.distributed.Store, for init_process_group(store=...), DDP, RPC, DCP.

    Keys and values are the same for both. Operations with a timeout use that of the returned store,
    which is initially that of `store` and which torch may change; the others use that of `store`.
    The store and its view live until the process ends; the same store always gives the same view.

    Errors belong to both libraries: a StoreTimeoutError is also a torch.distributed.DistStoreError,
    a StoreConnectionError a torch.distributed.DistNetworkError.

    Raises TypeError for anything but one of our stores.
    """
    if not isinstance(store, Store):
        raise TypeError(
            f"expected a rendezvous store, not a {type(store).__name__}; a torch store needs no "
            "view"
        )
    if id(store) not in _views:
        _views[id(store)] = TorchStore(store)
    return _views[id(store)]


class TorchStore(dist.Store):  # type: ignore[misc]  # torch may be missing
    """Called by C++ under torch's names for C++ (deleteKey), by Python under those for Python."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.set_timeout(store.timeout)
        _kept.append(self)

    def set(self, key: str, value: str | bytes) -> None:
        with self.translated():
            self.store.set(key, value)

    def get(self, key: str) -> bytes:
        with self.translated():
            return self.store.get(key, self.timeout)

    def add(self, key: str, value: int) -> int:
        with self.translated():
            return self.store.add(key, value)

    def compare_set(
        self, key: str, expected_value: str | bytes, desired_value: str | bytes
    ) -> bytes:
        with self.translated():
            return self.store.compare_set(key, expected_value, desired_value)

    def check(self, keys: Sequence[str]) -> bool:
        with self.translated():
            return self.store.check(keys)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        with self.translated():
            self.store.wait(keys, self.timeout if timeout is None else timeout)

    def delete_key(self, key: str) -> bool:
        with self.translated():
            return self.store.delete_key(key)

    def num_keys(self) -> int:
        with self.translated():
            return self.store.num_keys()

    def list_keys(self) -> list[str]:
        with self.translated():
            return self.store.list_keys()

    def has_extended_api(self) -> bool:
        return self.store.has_extended_api()

    def append(self, key: str, value: str | bytes) -> None:
        with self.translated():
            self.store.append(key, value)

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        with self.translated():
            return self.store.multi_get(keys, self.timeout)

    def multi_set(self, keys: Sequence[str], values: Iterable[str | bytes]) -> None:
        with self.translated():
            self.store.multi_set(keys, values)

    def queue_push(self, key: str, value: str | bytes) -> None:
        with self.translated():
            self.store.queue_push(key, value)

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        with self.translated():
            return self.store.queue_pop(key, block, self.timeout)

    def queue_len(self, key: str) -> int:
        with self.translated():
            return self.store.queue_len(key)

    def clone(self) -> TorchStore:
        # Our stores are for any number of threads: only the timeout is the clone's own.
        view = TorchStore(self.store)
        view.set_timeout(self.timeout)
        return view

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the store leave as torch's, too."""
        try:
            yield
        except StoreTimeoutError as error:
            raise mixed_with(error, dist.DistStoreError) from None
        except StoreConnectionError as error:
            raise mixed_with(error, dist.DistNetworkError) from None
        except StoreError as error:
            raise mixed_with(error, dist.DistError) from None

    def __repr__(self) -> str:
        return f"<torch's view of {self.store!r}>"

    deleteKey = delete_key  # noqa: N815
    getNumKeys = num_keys  # noqa: N815


def mixed_with(error: Exception, foreign: type[Exception]) -> Exception:
    """The same error, of a class that is both its own and `foreign`."""
    mixed = _mixed_class(type(error), foreign)(*error.args)
    vars(mixed).update(vars(error))
    return mixed


def _mixed_class(ours: type[Exception], foreign: type[Exception]) -> type[Exception]:
    if issubclass(ours, foreign):
        return ours
    if (ours, foreign) not in _mixed_classes:
        made = type(ours.__name__, (ours, foreign), {"__module__": ours.__module__})
        _mixed_classes[ours, foreign] = made
    return _mixed_classes[ours, foreign]
