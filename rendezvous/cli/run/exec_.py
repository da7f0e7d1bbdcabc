"""`rendezvous exec`: join, run a command with its rank, and follow the changes of membership.

Options and the order of setting up. What happens from then on is supervisor.py's.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from rendezvous._base.api import RendezvousParameters
from rendezvous._base.endpoint import parse_endpoint
from rendezvous._base.hosts import is_loopback, is_wildcard
from rendezvous._base.settings import C10D_SETTINGS, ETCD_SETTINGS, unknown_settings
from rendezvous.backends.c10d import shared_run_id
from rendezvous.cli import exits as _exit
from rendezvous.cli import options as _options
from rendezvous.cli.log import logger
from rendezvous.cli.run.environment import RUN_ID_VARIABLE
from rendezvous.cli.run.process import Guard, check_program
from rendezvous.cli.run.run_id import DEFAULT_RUN_ID, find_run_id
from rendezvous.cli.run.signals import SignalScope, leave_at_once
from rendezvous.cli.run.supervisor import Plan, Supervisor
from rendezvous.handler.linger import LINGER_S

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rendezvous.cli.run.run_id import FoundRunId

_ETCD_BACKENDS = ("etcd", "etcd-v3")

_USAGE = """rendezvous exec --endpoint HOST[:PORT] --nodes MIN[:MAX] [options]
                       -- COMMAND [ARGUMENT ...]"""

_DESCRIPTION = """\
Join a job and run a command on this node once all nodes are there.

Start the same line on every node. exec waits until MIN nodes have joined, and then
for more, until MAX have joined or last_call_timeout (30 s) is over. Then it starts
COMMAND, once on each node, with these variables set:

  RANK, NODE_RANK            rank of this node, from 0
  WORLD_SIZE, NNODES         number of nodes
  MASTER_ADDR, MASTER_PORT   where rank 0 is reached
  RENDEZVOUS_ENDPOINT        URL of the job's own keys (for rendezvous get, set ...)
  RENDEZVOUS_RUN_ID          name of the job
  RENDEZVOUS_ROUND           how often the nodes have met, from 1
  TORCHELASTIC_...           tell torch that exec serves a store at
                             MASTER_ADDR:MASTER_PORT (see --no-bootstrap-store)

When a node joins, fails or dies, all nodes stop the command, meet again, and start
it with its new rank. exec ends when the command ends, with its exit code.

No server is needed: the node on the machine that --endpoint names hosts the store.
After its command has ended, it stays until the other nodes have left."""

_EXAMPLES = """\
examples:
  on each of 4 nodes, node0 hosts the store:
    rendezvous exec --endpoint node0:29400 --nodes 4 -- python train.py

  2 to 8 nodes that may come and go; a command that fails is started again up to 3 times:
    rendezvous exec --endpoint node0:29400 --nodes 2:8 --max-restarts 3 \\
        --rdzv-conf last_call_timeout=10 -- bash train.sh

  over an etcd cluster: no node hosts anything, and any may be lost:
    rendezvous exec --backend etcd --endpoint etcd0:2379,etcd1:2379,etcd2:2379 \\
        --nodes 2:8 --run-id my-job -- python train.py

  see which variables a command gets, with one node on this machine:
    rendezvous exec --endpoint localhost --nodes 1 -- env

signals: exec passes SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on to the
command's process group. After SIGTERM, the command has --grace seconds to end. If
exec is killed, the command is killed too.

exit codes: the command's own (128 + n if signal n ended it, or ended exec before
the command ran), 1 the nodes did not meet, the store was lost, or too few nodes are
left, 2 wrong arguments, 126 the command cannot be run, 127 it was not found."""


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add `exec`. `main` cuts the command off the arguments and sets `command`."""
    parser = _options.add_command(
        subparsers,
        "exec",
        summary="join a job and run a command with its rank",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        usage=_USAGE,
    )
    default_endpoint = _options.server_from_environment()
    parser.add_argument(
        "--endpoint",
        default=default_endpoint,
        required=default_endpoint is None,
        metavar="HOST[:PORT]",
        help="where the store is, or where one of the nodes will serve it"
        f" (default: ${_options.ENDPOINT_VARIABLE}; port {_options.DEFAULT_PORT})",
    )
    parser.add_argument(
        "--nodes",
        type=_options.nodes,
        required=True,
        metavar="MIN[:MAX]",
        help="how many nodes the job needs: 4, or from 2 to 8 with 2:8",
    )
    parser.add_argument(
        "--run-id",
        metavar="ID",
        help="name of the job; nodes with the same name meet (default: 'default' if a node of the"
        " job hosts the store; otherwise the name that SLURM, Kubernetes or another workload"
        " manager gives the job)",
    )
    parser.add_argument(
        "--backend",
        default="c10d",
        metavar="NAME",
        help="where the rendezvous is kept: c10d, in a store that a node or a server serves, or"
        " etcd; then --endpoint names its members, separated by commas (default: c10d)",
    )
    parser.add_argument(
        "--etcd-user",
        metavar="NAME",
        help="user name for --backend etcd; the password is $RENDEZVOUS_ETCD_PASSWORD, or in the"
        " file that --rdzv-conf password_file=PATH names",
    )
    parser.add_argument(
        "--rdzv-conf",
        type=_options.conf,
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="settings of the rendezvous, times in seconds; the common ones with their defaults:"
        " join_timeout=600, last_call_timeout=30, keep_alive_interval=5, keep_alive_max_attempt=3,"
        " linger_timeout=300; is_host=1 makes this node host the store; may be given several times",
    )
    parser.add_argument(
        "--local-addr",
        metavar="ADDRESS",
        help="address by which other nodes reach this one (default: detected)",
    )
    parser.add_argument(
        "--max-restarts",
        type=_options.whole_number(0, 1_000_000),
        default=0,
        metavar="N",
        help="if the command fails, meet again and start it again, up to N times; restarts because"
        " nodes came or went do not count (default: 0)",
    )
    parser.add_argument(
        "--wait-for-replacements",
        action="store_true",
        help="if the command fails for good, let the other nodes wait up to join_timeout for a new"
        " node in this node's place, for example one that Kubernetes starts; without this option,"
        " they end as soon as fewer than MIN are left",
    )
    parser.add_argument(
        "--spare-timeout",
        type=_options.seconds,
        metavar="SECONDS",
        help="how long this node waits while it is a spare, one more than MAX; join_timeout does"
        " not count then (default: to the end of the job)",
    )
    parser.add_argument(
        "--grace",
        type=_options.seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long the command may take to end after SIGTERM, before SIGKILL (default: 30)",
    )
    parser.add_argument(
        "--no-bootstrap-store",
        action="store_true",
        help="serve no store at MASTER_ADDR:MASTER_PORT, so that rank 0's command can listen there"
        " itself: for jax, DeepSpeed, and torch scripts that make process groups at other"
        " addresses; exec keeps the port bound, so that no other program gets it, and the command"
        " must use SO_REUSEADDR, as most servers do",
    )
    parser.add_argument(
        "--release-port",
        action="store_true",
        help="with --no-bootstrap-store: do not keep the port bound, for commands that listen"
        " without SO_REUSEADDR; another program may take the port",
    )
    parser.add_argument(
        "--listen-fd",
        type=_options.whole_number(0, 1_000_000),
        metavar="FD",
        help="host the store on this file descriptor, a socket bound to the endpoint's port",
    )
    parser.set_defaults(run=run)


def _check(backend: str, endpoint: str, config: Mapping[str, str]) -> None:
    """Find mistakes that would come to light late, or never. Only for backends known here."""
    if not endpoint.strip():
        raise _exit.CommandError(
            "--endpoint is empty (an unset shell variable?); name the host and port at which all "
            "nodes meet (localhost for this machine alone)",
            _exit.USAGE,
        )
    try:
        if backend == "c10d":
            if not _is_file(config):
                parse_endpoint(endpoint, _options.DEFAULT_PORT)
        else:
            from rendezvous.backends.etcd.transport.endpoints import parse_endpoints

            parse_endpoints(endpoint)
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None
    settings = C10D_SETTINGS if backend == "c10d" else ETCD_SETTINGS
    unknown = unknown_settings(config, settings)
    if unknown:
        raise _exit.CommandError(f"--rdzv-conf: {'; '.join(unknown)}", _exit.USAGE)


def _is_file(config: Mapping[str, str]) -> bool:
    return config.get("store_type", "").lower() == "file"


def _warn_of_loopback(endpoint: str) -> None:
    host, _ = parse_endpoint(endpoint, _options.DEFAULT_PORT)
    if is_wildcard(host):
        logger.warning(
            "the endpoint %s makes this machine host the store: give the nodes on other machines "
            "this machine's address as their endpoint",
            endpoint,
        )
    elif is_loopback(host):
        logger.warning(
            "the endpoint %s is a loopback address, which means a different machine on each "
            "machine: nodes on other machines will not meet this one",
            endpoint,
        )


def _run_id(args: argparse.Namespace, config: dict[str, str]) -> tuple[str, FoundRunId | None]:
    """The run id, and what was found of it elsewhere; None: the user has said it.

    Over c10d it is known later whether a node of the job serves the store.
    """
    if args.run_id is not None:
        return args.run_id, None
    outer = os.environ.get(RUN_ID_VARIABLE)
    if outer and args.endpoint == _options.outer_server():
        raise _exit.CommandError(
            f"this is a command of the run {outer!r}, and meets at that run's own store: without a "
            "name it would be one more node of that run; give a --run-id, which all nodes of the "
            "inner run have",
            _exit.USAGE,
        )
    found = find_run_id(os.environ)
    if args.backend == "c10d":
        config["run_id_elsewhere"] = found.run_id
        return DEFAULT_RUN_ID, found
    if args.backend not in _ETCD_BACKENDS:
        return found.run_id or DEFAULT_RUN_ID, found
    try:
        return shared_run_id(found.run_id, args.endpoint), found
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from None


def _add_options(args: argparse.Namespace, config: dict[str, str]) -> None:
    """Settings that have options of their own."""
    if args.etcd_user is not None:
        if args.backend not in _ETCD_BACKENDS:
            raise _exit.CommandError(
                f"--etcd-user needs --backend etcd, not {args.backend}", _exit.USAGE
            )
        config["user"] = args.etcd_user
    if args.spare_timeout is not None:
        config["spare_timeout"] = str(args.spare_timeout)
    if args.no_bootstrap_store:
        config["bootstrap_store"] = "0"
    if args.release_port:
        config["hold_port"] = "0"
    if args.listen_fd is not None:
        if args.backend != "c10d":
            raise _exit.CommandError("--listen-fd needs --backend c10d", _exit.USAGE)
        config["listen_fd"] = str(args.listen_fd)


def run(args: argparse.Namespace) -> int:
    """Join and run `args.command`; its exit code."""
    # Before joining: nobody shall wait for a node whose command is a typing mistake.
    check_program(args.command[0])
    config: dict[str, str] = {}
    for pairs in args.rdzv_conf:
        config |= pairs
    try:
        linger_s = _options.seconds(config.pop("linger_timeout", str(LINGER_S)))
    except _options.OptionError as error:
        raise _exit.CommandError(f"--rdzv-conf linger_timeout: {error}", _exit.USAGE) from None
    if args.backend == "c10d" or args.backend in _ETCD_BACKENDS:
        _check(args.backend, args.endpoint, config)
    if args.backend == "c10d" and args.nodes[1] > 1 and not _is_file(config):
        _warn_of_loopback(args.endpoint)
    _add_options(args, config)
    run_id, found = _run_id(args, config)
    min_nodes, max_nodes = args.nodes
    try:
        parameters = RendezvousParameters(
            args.backend,
            args.endpoint,
            run_id,
            min_nodes,
            max_nodes,
            args.local_addr,
            **config,
        )
    except ValueError as error:
        raise _exit.CommandError(str(error), _exit.USAGE) from error
    plan = Plan(
        command=args.command,
        parameters=parameters,
        failures_max=args.max_restarts,
        waits_for_replacements=args.wait_for_replacements,
        grace_s=args.grace,
        linger_s=linger_s,
        environment=os.environ.copy(),
        found_run_id=found,
    )
    with (
        SignalScope(
            signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT,
            signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT, signal.SIGCHLD,
        ) as signals,
        Guard() as guard,
    ):  # fmt: skip
        code = Supervisor(plan, signals, guard).run()
    if signals.has_left_behind:
        # Nothing that still waits for a server may hold up the end.
        leave_at_once(code)
    return code
