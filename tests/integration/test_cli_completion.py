"""Shell completion, and what is said of a misspelled command or option."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.cli import Cli, environment

MAKER = Path(__file__).parents[2] / "release" / "completions.py"


def test_the_files_are_those_of_the_arguments() -> None:
    """They are made by shtab, and kept in the package."""
    pytest.importorskip("shtab")
    done = subprocess.run(
        [sys.executable, str(MAKER), "--check"], capture_output=True, check=False, cwd="/",
        env=environment(PYTHONSAFEPATH="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


COMPLETED = pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rendezvous", "stat"], "status"),
        (["rendezvous", "doc"], "doctor"),
        (["rendezvous", "status", "--fol"], "--follow"),
        (["rendezvous", "demo", "--backend", "et"], "etcd"),
    ],
)


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
@COMPLETED
def test_fish_completes(cli: Cli, words: list[str], found: str) -> None:
    """The same, with what it says of each."""
    script = cli.run("completion", "fish").stdout.decode()
    done = subprocess.run(
        ["fish", "-N", "-c", f"{script}\ncomplete -C '{' '.join(words)}'"],
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()] == [found]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
@COMPLETED
def test_bash_completes(cli: Cli, words: list[str], found: str) -> None:
    """Commands, options and choices."""
    script = cli.run("completion", "bash").stdout.decode()
    script += f"""
function=$(complete -p rendezvous | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
$function rendezvous {words[-1]} {words[-2]}
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.stderr == b""
    assert done.stdout.decode().split() == [found]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_theirs(cli: Cli, shell: str) -> None:
    """Which the shell itself takes, where it is installed; $SHELL says which one is meant."""
    done = cli.run("completion", shell)
    assert done.returncode == 0
    for word in (b"status", b"doctor", b"follow"):
        assert word in done.stdout
    assert cli.run("completion", SHELL=f"/usr/bin/{shell}").stdout == done.stdout
    if shutil.which(shell):
        checked = subprocess.run(
            [shell, "-n", "/dev/stdin"], input=done.stdout, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("stauts",), "no such choice: 'stauts'; is status meant?"),
        (("xyz",), "choose from exec, serve, demo"),
        (("status", "--folow"), "unrecognized arguments: --folow; is --follow meant?"),
        (("exec", "--nods=2", "--", "true"), "--nods=2; is --nodes meant?"),
        (("exec", "--nods=2", "true"), "the command to run goes after --"),
        (
            ("demo", "--backend", "ectd"),
            "no such choice: 'ectd'; is etcd meant?",
        ),
        (("completion", "tcsh"), "choose from bash, zsh, fish"),
    ],
)
def test_a_misspelled_word_is_told_with_what_may_be_meant(
    cli: Cli, words: tuple[str, ...], told: str
) -> None:
    """Exit code 2."""
    done = cli.run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()
