"""`rendezvous completion`: what a shell needs to complete our commands and options.

The files are made by release/completions.py, so that nothing is needed at run time.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING

from rendezvous.cli import exits as _exit
from rendezvous.cli.options import add_command

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.options import Subparsers

_SHELLS = ("bash", "zsh", "fish")

_DESCRIPTION = """\
Print what a shell needs to complete commands and options of rendezvous with Tab."""

_EXAMPLES = """\
examples:
  eval "$(rendezvous completion bash)"                     this shell; or in ~/.bashrc
  rendezvous completion zsh > ~/.zfunc/_rendezvous         a folder of $fpath
  rendezvous completion fish > ~/.config/fish/completions/rendezvous.fish

exit codes: 0, 2 wrong arguments, 130 Ctrl-C."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `completion`."""
    parser = add_command(
        subparsers,
        "completion",
        summary="print the completion for a shell",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "shell", choices=_SHELLS, nargs="?", help="default: the one of $SHELL, if it is one of them"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    shell = args.shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        args.fail(f"name the shell: {', '.join(_SHELLS)}")
    folder = resources.files("rendezvous.cli") / "completions"
    print((folder / f"rendezvous.{shell}").read_text(encoding="utf-8"), end="")
    return _exit.OK
