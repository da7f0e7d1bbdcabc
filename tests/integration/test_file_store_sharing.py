"""A FileStore that several users of the system share, in directories as they are found."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.process import PythonProcess

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can become two other users"
)

# Becomes a user, then opens; answers lines of Python expressions on `store`.
USER = """\
import os, sys
import rendezvous, rendezvous._base.log
path, job_id, uid, gid, groups = sys.argv[1:6]
os.umask(0o077)
os.setgroups([int(group) for group in groups.split(",") if group])
os.setresgid(int(gid), int(gid), int(gid))
os.setresuid(int(uid), int(uid), int(uid))
try:
    store = rendezvous.FileStore(path, job_id=job_id)
    print("open", flush=True)
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""
ANNE, BOB, TEAM = 64_101, 64_102, 64_103

Open = Callable[..., PythonProcess]


@pytest.fixture
def as_user() -> Iterator[Open]:
    """Opens a store as a user of the system; the processes end with the test."""
    with ExitStack() as stack:

        def started(uid: int, path: Path, job_id: str = "job", groups: str = "") -> PythonProcess:
            process = stack.enter_context(
                PythonProcess(
                    USER,
                    str(path),
                    job_id,
                    str(uid),
                    str(uid),
                    groups,
                    RENDEZVOUS_FILE_COMPACT_BYTES="2000",
                )
            )
            process.opened = process.line()  # type: ignore[attr-defined]
            return process

        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Reachable for everybody."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & stat.S_IXOTH == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    made = tmp_path / "shared"
    made.mkdir()
    return made


def opened(process: PythonProcess) -> str:
    return str(process.opened)  # type: ignore[attr-defined]


def ask(process: PythonProcess, expression: str) -> str:
    process.say(expression)
    return str(process.line())


FILL = "[store.set('filled', str(i) * 20) for i in range(100)] and None"


def test_two_users_share_a_store_in_a_sticky_directory(as_user: Open, folder: Path) -> None:
    """In a directory like /tmp nobody can replace another's file; it is used where it is."""
    folder.chmod(0o1777)
    path = folder / "store"
    path.touch()
    path.chmod(0o666)
    os.chown(path, ANNE, ANNE)
    anne, bob = as_user(ANNE, path), as_user(BOB, path)
    assert (opened(anne), opened(bob)) == ("open", "open")
    assert ask(anne, "store.set('k', 'from anne')") == "None"
    assert ask(bob, "store.get('k', 0)") == "b'from anne'"
    assert ask(bob, FILL) == "None"
    assert ask(anne, "store.get('filled', 0)") == repr(b"99" * 20)
    assert ask(anne, FILL) == "None"
    assert ask(bob, "store.num_keys()") == "2"
    anne.kill()
    bob.kill()
    # A file that another user left, in both directions, with a lock file that was left as well.
    for uid in (BOB, ANNE, BOB):
        later = as_user(uid, path, f"job of {uid}")
        assert opened(later) == "open"
        assert ask(later, "store.num_keys()") == "0"
        assert ask(later, "store.set('k', 'v')") == "None"
        later.kill()
    assert path.stat().st_uid == ANNE
    assert path.stat().st_mode & 0o777 == 0o666


def test_users_of_a_group_share_a_store_that_stays_the_groups(as_user: Open, folder: Path) -> None:
    """Whoever compacts the file, all who could use it still can."""
    os.chown(folder, 0, TEAM)
    folder.chmod(0o770)
    path = folder / "store"
    path.touch()
    path.chmod(0o660)
    os.chown(path, ANNE, TEAM)
    anne, bob = (as_user(uid, path, groups=str(TEAM)) for uid in (ANNE, BOB))
    assert (opened(anne), opened(bob)) == ("open", "open")
    assert ask(bob, FILL) == "None"
    assert ask(anne, FILL) == "None"
    assert path.stat().st_size < 20_000
    assert path.stat().st_gid == TEAM
    assert path.stat().st_mode & 0o777 == 0o660
    assert opened(as_user(BOB, path, groups=str(TEAM))) == "open"
    assert opened(as_user(ANNE, path, groups=str(TEAM))) == "open"


def test_a_file_is_never_replaced_by_one_that_its_owner_could_not_use(
    as_user: Open, folder: Path
) -> None:
    """Without the group, a user who may write the file leaves it its owner's."""
    folder.chmod(0o777)
    path = folder / "store"
    path.touch()
    path.chmod(0o606)
    os.chown(path, ANNE, TEAM)
    bob = as_user(BOB, path)
    assert opened(bob) == "open"
    assert ask(bob, FILL) == "None"
    assert (path.stat().st_uid, path.stat().st_gid) == (ANNE, TEAM)
    assert opened(as_user(ANNE, path)) == "open"


def test_what_the_directory_lacks_is_said(as_user: Open, folder: Path) -> None:
    """The lock file needs a directory that all users may write to."""
    folder.chmod(0o755)
    path = folder / "store"
    path.touch()
    path.chmod(0o666)
    assert "needs write permission" in opened(as_user(BOB, path))
