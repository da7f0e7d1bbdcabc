"""What other versions since 0.2.0 have written, this one reads: files, and states of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compat.files import CONTENT, content, in_use
from compat.states import said

from rendezvous import FileStore, StoreProtocolError
from rendezvous._core import Group

FILES = sorted(Path(__file__).parent.glob("*/store.bin"))
STATES = sorted(Path(__file__).parent.glob("*/states.json"))


def test_something_is_recorded() -> None:
    """For the version that promises it first, and on."""
    assert FILES
    assert STATES


@pytest.mark.parametrize("recorded", FILES, ids=lambda path: path.parent.name)
def test_a_stores_file_of_that_version_is_joined(recorded: Path, tmp_path: Path) -> None:
    """All that its users see is there, and they go on with it."""
    path = tmp_path / "store"
    path.write_bytes(recorded.read_bytes())
    with in_use(path), FileStore(str(path), job_id="recorded") as store:
        assert content(store) == CONTENT
        assert store.add("count", 1) == 43


@pytest.mark.parametrize("recorded", FILES, ids=lambda path: path.parent.name)
def test_a_file_of_an_unknown_version_is_refused_and_stays(recorded: Path, tmp_path: Path) -> None:
    """In words, whichever side of ours it lies on."""
    path = tmp_path / "store"
    for version in (1, 99):
        kept = bytearray(recorded.read_bytes())
        kept[8:10] = version.to_bytes(2, "little")
        path.write_bytes(kept)
        with in_use(path), pytest.raises(StoreProtocolError) as caught:
            FileStore(str(path), job_id="recorded")
        print(caught.value)
        assert path.read_bytes() == kept


@pytest.mark.parametrize("recorded", STATES, ids=lambda path: path.parent.name)
def test_a_state_of_that_version_says_the_same(recorded: Path) -> None:
    """And is written again as it was: nodes of both versions keep one run."""
    for each in json.loads(recorded.read_text()):
        group = Group()
        group.observe(bytes.fromhex(each["state"]), 0.0)
        assert said(group) == each["says"], each["label"]
        assert group.encode().hex() == each["state"], each["label"]
