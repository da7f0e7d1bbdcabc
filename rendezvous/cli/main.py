"""The command `rendezvous`: reads the arguments, runs one topic, and turns errors into exit codes.

Knows no topic from inside: each adds its parser and sets `run`. Nothing but a bug leaves `main` as
an exception.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from rendezvous import _core
from rendezvous.cli import exits as _exit
from rendezvous.cli.doctor import command as doctor
from rendezvous.cli.log import complain, logger, set_up_logging
from rendezvous.cli.look import status, timeline
from rendezvous.cli.options import use_credentials
from rendezvous.cli.parser import Parser, suggestion
from rendezvous.cli.run import exec_, exec_options
from rendezvous.cli.tools import (
    bench,
    close,
    completion,
    demo,
    serve,
    store_meet,
    store_ops,
    token,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
A small store and a meeting point for distributed jobs: who is here, which rank am I,
and where is rank 0?"""

_EXAMPLES = """\
start here:
  rendezvous demo                                      see 8 processes meet
  rendezvous exec --endpoint node0 --nodes 4 -- CMD    run CMD on 4 nodes, with ranks
  rendezvous serve                                     run a store server
  rendezvous set greeting hello                        set a key in it, from another shell
  rendezvous status my-job --endpoint node0            who is in a run, who is missing
  rendezvous doctor --endpoint node0                   what is wrong between here and there

`rendezvous COMMAND --help` shows all options, with examples."""


def _version() -> str:
    library = _core.tls_library() or "none: no tokens, no certificates"
    python = ".".join(map(str, sys.version_info[:3]))
    return "\n".join(
        [
            f"rendezvous {_core.__version__}",
            f"commit:   {_core.build_commit or 'not known: not built in a checkout'}",
            f"compiler: {_core.build_compiler}",
            f"TLS:      {library}",
            f"Python:   {python} ({sys.implementation.name})",
        ]
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands, but for what follows `--` of `exec`."""
    parser: argparse.ArgumentParser = Parser(
        prog="rendezvous",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command_name", required=True
    )
    exec_options.add_parser(subparsers).set_defaults(run=exec_.run)
    serve.add_parser(subparsers)
    demo.add_parser(subparsers)
    bench.add_parser(subparsers)
    status.add_parser(subparsers)
    timeline.add_parser(subparsers)
    doctor.add_parser(subparsers)
    close.add_parser(subparsers)
    store_ops.add_parsers(subparsers)
    store_meet.add_parsers(subparsers)
    watch.add_parser(subparsers)
    token.add_parser(subparsers)
    completion.add_parser(subparsers)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments. SystemExit with code 2 and a message when they are wrong.

    The command of `exec` is cut off first: argparse would take some of its options for ours.
    """
    parser = build_parser()
    name = next((word for word in argv if not word.startswith("-")), None)
    command: list[str] | None = None
    ours = list(argv)
    if name == "exec" and "--" in ours:
        cut = ours.index("--")
        # torchrun takes --max_restarts and the like for the same.
        ours, command = list(map(_with_dashes, ours[:cut])), ours[cut + 1 :]
    args, unknown = parser.parse_known_args(ours)
    if unknown:
        hint = "; the command to run goes after --" if name == "exec" and command is None else ""
        args.fail(f"unrecognized arguments: {' '.join(unknown)}{hint or _meant(args, unknown)}")
    if name == "exec":
        if not command:
            args.fail("no command to run; give it after --, for example: -- python train.py")
        args.command = command
        exec_options.complete(args)
    return args


def _meant(args: argparse.Namespace, unknown: Sequence[str]) -> str:
    known = args.fail.__self__.known_options()
    options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    return next(filter(None, (suggestion(word, known) for word in options)), "")


def _with_dashes(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _fill_standard_streams() -> None:
    """So that nothing that is opened later is taken for one that was closed."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free is its own.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's) and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    _fill_standard_streams()
    if not argv:
        build_parser().print_help()
        return _exit.USAGE
    args = parse(argv)
    set_up_logging(args.verbose, args.command_name, getattr(args, "log_format", "text"))
    use_credentials(args)
    try:
        code: int = args.run(args)
    except _exit.CommandError as error:
        complain(args.command_name, str(error))
        logger.debug("the error came from here", exc_info=True)
        return error.code
    except KeyboardInterrupt:
        return _exit.of_signal(signal.SIGINT)
    except BrokenPipeError:
        # Who read our output has seen enough. Nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _exit.of_signal(signal.SIGPIPE)
    return code
