"""`rendezvous token`: makes a job's secret, and puts it where commands and handlers find it."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rendezvous import _core
from rendezvous.cli import exits as _exit
from rendezvous.cli.log import logger
from rendezvous.cli.options import add_command

if TYPE_CHECKING:
    import argparse

    from rendezvous.cli.options import Subparsers

_DESCRIPTION = """\
Make a token: a secret that servers ask for and clients prove to have.

With a token all connections are encrypted, and nobody without it can read or
change anything. --save puts it into your own configuration folder, readable by
you alone, where every command and every handler finds it: where machines share
your home folder, that is all there is to do. Elsewhere, give every process the
same token in a file that RENDEZVOUS_TOKEN_FILE names, or as RENDEZVOUS_TOKEN.
It is never an argument of a command: other users of a machine can read those."""

_EXAMPLES = """\
examples:
  rendezvous token --save            make one and keep it for all your jobs
  rendezvous token --space '*' --role reader > reader.token
                                     for those who look at a monitor over HTTP
  rendezvous token > job.token       make one for one job (umask 077 first)
  RENDEZVOUS_TOKEN_FILE=job.token rendezvous serve --host 0.0.0.0

exit codes: 0 when it was made, 1 when it cannot be saved or one is saved already."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `token`."""
    parser = add_command(
        subparsers,
        "token",
        summary="make the secret that servers ask for",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="put it into your configuration folder instead of printing it",
    )
    parser.add_argument(
        "--space",
        default="default",
        metavar="NAME",
        help="the name space that it is for; with --role reader, * is all of them, for a monitor's"
        " --http-token-file (default: default)",
    )
    parser.add_argument(
        "--role",
        choices=("member", "reader", "admin"),
        default="member",
        help="what who has it may do: everything there, look, or everything everywhere"
        " (default: member)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a new token, or save it."""
    if not _core.tls_library():
        raise _exit.CommandError(
            "this build has no TLS, which tokens need; install a wheel "
            "(`pip install rendezvous-store`), or build it where OpenSSL 3.0 or later and its "
            "headers are"
        )
    try:
        # Of all name spaces, none can read: a store takes no such token.
        is_for_monitors = (args.space, args.role) == ("*", "reader")
        token = _core.make_token("all" if is_for_monitors else args.space, args.role)
    except ValueError as error:
        args.fail(str(error))
    if is_for_monitors:
        token = f"rendezvous:*:reader:{token.rpartition(':')[2]}"
    if args.save and (args.space, args.role) != ("default", "member"):
        args.fail("--save is for the token of your own jobs: a member's, of the default name space")
    if not args.save:
        sys.stdout.write(f"{token}\n")
        return _exit.OK
    where = _core.saved_token_path()
    if not where:
        raise _exit.CommandError("neither XDG_CONFIG_HOME nor HOME says where to save it; set one")
    try:
        _save(Path(where), token)
    except FileExistsError:
        raise _exit.CommandError(
            f"there is a token in {where} already, which running jobs may use; to renew it, remove "
            "that file first"
        ) from None
    except OSError as error:
        raise _exit.CommandError(f"cannot save the token: {error}") from error
    logger.info("saved a new token in %s", where)
    return _exit.OK


def _save(path: Path, token: str) -> None:
    """Whole or not at all: other machines may look for it at the same time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{token}\n")
        os.link(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()
