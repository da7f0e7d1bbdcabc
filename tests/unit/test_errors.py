"""The tree of errors: what `except` clauses of users and of torch's agents catch."""

from __future__ import annotations

import copy
import pickle

import pytest

from rendezvous import _core, errors
from rendezvous.errors import (
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
    StoreAddressInUseError,
    StoreConnectionError,
    StoreError,
    StoreKeysMissingError,
    StoreLimitError,
    StoreNoAnswerError,
    StoreProtocolError,
    StoreRestartedError,
    StoreTimeoutError,
    StoreValueError,
)

ALL_ERRORS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_every_error_is_a_rendezvous_error(error: type[Exception]) -> None:
    """One clause catches everything that the package raises on purpose."""
    assert issubclass(error, RendezvousError)


@pytest.mark.parametrize("error", [each for each in ALL_ERRORS if issubclass(each, StoreError)])
def test_store_errors_are_runtime_errors(error: type[Exception]) -> None:
    """Users of torch's stores catch RuntimeError."""
    assert issubclass(error, RuntimeError)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (RendezvousTimeoutError, TimeoutError),
        (RendezvousConnectionError, ConnectionError),
        (StoreTimeoutError, TimeoutError),
        (StoreKeysMissingError, StoreTimeoutError),
        (StoreNoAnswerError, StoreTimeoutError),
        (StoreConnectionError, ConnectionError),
        (StoreValueError, ValueError),
        (StoreLimitError, StoreValueError),
        (StoreAddressInUseError, StoreConnectionError),
        (StoreRestartedError, StoreConnectionError),
        (StoreProtocolError, StoreConnectionError),
    ],
)
def test_errors_are_also_what_python_calls_them(
    error: type[Exception], base: type[Exception]
) -> None:
    """Code that knows nothing of us catches the built-in class."""
    assert issubclass(error, base)


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_errors_survive_copying_and_pickling(error: type[Exception]) -> None:
    """Launchers send errors between processes."""
    first = error("cannot do it")
    for again in (copy.copy(first), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert type(again) is error
        assert str(again) == "cannot do it"
        assert again.args == first.args


def test_a_timeout_keeps_who_joined_when_it_is_sent_elsewhere() -> None:
    """The attributes travel with the error."""
    first = RendezvousTimeoutError(
        "too few", joined=["a (pid 1)"], lost=("b (pid 2)",), min_nodes=2, max_nodes=4
    )
    again = pickle.loads(pickle.dumps(first))
    assert str(again) == "too few"
    assert (again.joined, again.lost) == (["a (pid 1)"], ["b (pid 2)"])
    assert (again.min_nodes, again.max_nodes) == (2, 4)


def test_what_is_missing_is_kept_when_the_error_is_sent_elsewhere() -> None:
    """The attributes travel with the error."""
    first = StoreKeysMissingError("timeout", keys=("a", "\udcff"), ranks=(1, 2))
    for again in (copy.copy(first), pickle.loads(pickle.dumps(first))):
        assert (str(again), again.keys, again.ranks) == ("timeout", ["a", "\udcff"], [1, 2])


def test_a_timeout_that_is_not_about_nodes_names_none() -> None:
    """The attributes are there anyway, so that nobody has to look for them."""
    error = RendezvousTimeoutError("slow")
    assert (error.joined, error.lost, error.min_nodes, error.max_nodes) == ([], [], 0, 0)


def test_the_core_raises_these_classes() -> None:
    """C++ errors arrive as the classes of this tree, not as look-alikes."""
    store = _core.HashStore()
    with pytest.raises(StoreKeysMissingError) as caught:
        store.get("missing", timeout=0)
    assert (caught.value.keys, caught.value.ranks) == (["missing"], [])
    store.set("k", "no number")
    with pytest.raises(StoreValueError):
        store.add("k", 1)
