"""Which runs somebody may mean who names one that is not there."""

from __future__ import annotations

from rendezvous.backends.look import similar_runs


def test_a_name_that_is_mistyped_is_found() -> None:
    assert similar_runs("trian-7", ["train-7", "eval"]) == ["train-7"]
    assert similar_runs("Train", ["train", "Train"]) == ["train"]


def test_names_that_nobody_types_are_not_compared() -> None:
    """Whoever joins chooses them, and comparing takes the square of their length."""
    long = "x" * 200
    assert similar_runs(long, [long + "y", "train"]) == []
    assert similar_runs("train", [long, "trian"]) == ["trian"]
