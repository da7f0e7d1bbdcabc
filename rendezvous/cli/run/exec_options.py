"""The options of `rendezvous exec`, torchrun's spellings included, and what fills them in.

Turns words into values. What is done with them is exec_.py's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from rendezvous.cli import options as _options
from rendezvous.cli.http_options import add_http
from rendezvous.cli.log import add_log_format
from rendezvous.cli.run.devices import count_cpus, count_gpus
from rendezvous.cli.run.surroundings import look_around

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rendezvous.cli.run.surroundings import Surroundings

__all__ = ["add_parser", "complete"]

# More is a typing mistake.
_PROCESSES_MAX = 4096

_USAGE = """rendezvous exec [--endpoint HOST[:PORT]] [--nodes MIN[:MAX]] [options]
                       -- COMMAND [ARGUMENT ...]"""

_DESCRIPTION = """\
Join a job and run a command on this node once all nodes are there.

Start the same line on every node. exec waits until MIN nodes have joined, and then
for more, until MAX have joined or last_call_timeout (30 s) is over. Then it starts
COMMAND, --procs-per-node times on each node, with these variables set:

  RANK, WORLD_SIZE           rank of this process, from 0, and number of processes
  LOCAL_RANK, LOCAL_WORLD_SIZE               the same on this node only
  NODE_RANK, NNODES, GROUP_RANK, GROUP_WORLD_SIZE          the same for nodes
  MASTER_ADDR, MASTER_PORT   where rank 0 is reached
  RENDEZVOUS_ENDPOINT        URL of the job's own keys (for rendezvous get, set ...)
  RENDEZVOUS_RUN_ID          name of the job
  RENDEZVOUS_ROUND           how often the nodes have met, from 1
  JAX_..., PET_..., ROLE_... the same for jax.distributed and torchrun
  TORCHELASTIC_...           tell torch that exec serves a store at
                             MASTER_ADDR:MASTER_PORT (see --no-bootstrap-store)

When a node joins, fails or dies, all nodes stop the command, meet again, and start
it with its new rank. exec ends when the command ends, with its exit code.

No server is needed: the node on the machine that --endpoint names hosts the store.
After its command has ended, it stays until the other nodes have left. Under SLURM (srun),
MPI and PBS, exec finds endpoint and number of nodes itself; in an Indexed Job of
Kubernetes, the endpoint."""

_EXAMPLES = """\
examples:
  on each of 4 nodes, node0 hosts the store:
    rendezvous exec --endpoint node0:29400 --nodes 4 -- python train.py

  the same with a process for each GPU:
    rendezvous exec --endpoint node0 --nodes 4 --procs-per-node auto -- python train.py

  under SLURM, on all nodes of the job:
    srun --ntasks-per-node=1 rendezvous exec --procs-per-node auto -- python train.py

  2 to 8 nodes that may come and go; a command that fails is started again up to 3 times:
    rendezvous exec --endpoint node0:29400 --nodes 2:8 --max-restarts 3 \\
        --rdzv-conf last_call_timeout=10 -- bash train.sh

  over an etcd cluster: no node hosts anything, and any may be lost:
    rendezvous exec --backend etcd --endpoint etcd0:2379,etcd1:2379,etcd2:2379 \\
        --nodes 2:8 --run-id my-job -- python train.py

  see which variables a command gets, on this machine only:
    rendezvous exec --standalone -- env

torchrun's spellings are accepted, too: --nnodes, --nproc-per-node, --rdzv-endpoint,
--rdzv-id, --rdzv-backend, and _ for - in all of them.

signals: exec passes SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 on to the
command's process groups. After SIGTERM, the command has --grace seconds to end. If
exec is killed, the command is killed too.

exit codes: the command's own (that of the first process that failed; 128 + n if signal
n ended it, or ended exec before the command ran), 1 the nodes did not meet, or the store
was lost, 2 wrong arguments, 93 do not start again: a command on another node failed for
good, and too few nodes are left, 126 the command cannot be run, 127 it was not found."""


def add_parser(subparsers: _options.Subparsers) -> argparse.ArgumentParser:
    """Add `exec`. `main` cuts the command off the arguments and sets `command`."""
    parser = _options.add_command(
        subparsers,
        "exec",
        summary="join a job and run a command with its rank",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        usage=_USAGE,
    )
    parser.set_defaults(complete=complete)
    _add_meeting(parser)
    _add_command(parser)
    _add_output(parser)
    return parser


def _add_meeting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        "--rdzv-endpoint",
        metavar="HOST[:PORT]",
        help="where the store is, or where one of the nodes will serve it"
        f" (default: ${_options.ENDPOINT_VARIABLE}, else a node that SLURM, Kubernetes, MPI or PBS"
        f" names; port {_options.DEFAULT_PORT})",
    )
    parser.add_argument(
        "--nodes",
        "--nnodes",
        type=_options.nodes,
        metavar="MIN[:MAX]",
        help="how many nodes the job needs: 4, or from 2 to 8 with 2:8 (default: as many as "
        "SLURM, MPI or PBS has started)",
    )
    parser.add_argument(
        "--standalone",
        action="store_true",
        help="a job of only this node, with its own store at a free port",
    )
    parser.add_argument(
        "--run-id",
        "--rdzv-id",
        metavar="ID",
        help="name of the job; nodes with the same name meet (default: 'default' if a node of the"
        " job hosts the store; otherwise the name that SLURM, Kubernetes or another workload"
        " manager gives the job)",
    )
    parser.add_argument(
        "--backend",
        "--rdzv-backend",
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
        "--spare-timeout",
        type=_options.seconds,
        metavar="SECONDS",
        help="how long this node waits while it is a spare, one more than MAX; join_timeout does"
        " not count then (default: to the end of the job)",
    )
    parser.add_argument(
        "--rank-by",
        choices=("address", "join", "given", "topology"),
        help="how the nodes get their ranks: by address, by the order in which they join, by the"
        " rank that SLURM, MPI or Kubernetes gives them, or with those of one switch side by side"
        " (default: given if the number of nodes comes from SLURM or MPI, else address)",
    )
    parser.add_argument(
        "--expect",
        metavar="NAMES",
        help="which nodes are expected, such as node[01-04], file:PATH or slurm: the log of a node"
        " that waits, and the error at its timeout, name those that are missing",
    )
    parser.add_argument(
        "--attempt",
        metavar="N|auto",
        help="which start of the job this is; a later one displaces what is left of an earlier one;"
        " auto: SLURM_RESTART_COUNT",
    )
    parser.add_argument(
        "--no-bootstrap-store",
        action="store_true",
        help="serve no store at MASTER_ADDR:MASTER_PORT, so that rank 0's command can listen there"
        " itself: for torch scripts that make process groups at other addresses, and programs with"
        " a server of their own; exec keeps the port bound, so that no other program gets it, and"
        " the command must use SO_REUSEADDR, as most servers do",
    )
    parser.add_argument(
        "--release-port",
        action="store_true",
        help="do not keep the ports bound that rank 0's command may listen on, for commands that"
        " listen without SO_REUSEADDR; another program may take them",
    )
    _options.add_insecure(parser)
    _options.add_credentials(parser, hosts=True)
    add_http(parser, " on the node that serves the store")
    parser.add_argument(
        "--listen-fd",
        type=_options.whole_number(0, 1_000_000),
        metavar="FD",
        help="host the store on this file descriptor, a socket bound to the endpoint's port",
    )
    parser.add_argument(
        "--health-check",
        metavar="COMMAND",
        help="a shell command that runs before this node joins a round; if it fails, the node does"
        " not take part, and the others learn its last line",
    )


def _add_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--procs-per-node",
        "--nproc-per-node",
        type=_processes,
        default=1,
        metavar="N|auto|gpu|cpu",
        help="how often to start the command on this node; nodes may have different numbers; gpu:"
        " the GPUs that it sees; auto: the same, or 1 where there are none; cpu: its processors"
        " (default: 1)",
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
        "--grace",
        type=_options.seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long the command may take to end after SIGTERM, before SIGKILL (default: 30)",
    )
    parser.add_argument(
        "--mpi-env",
        action="store_true",
        help="set OMPI_COMM_WORLD_RANK and similar variables, too, as Open MPI does: for "
        "programs that read them but do not load MPI, such as a plain "
        "jax.distributed.initialize()",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-dir",
        metavar="FOLDER",
        help="write the command's output to FOLDER/RUN_ID/round-N/rank-R.log, one file per rank, "
        "instead of exec's stdout and stderr (for both, add --tee)",
    )
    parser.add_argument(
        "-t",
        "--tee",
        type=_streams,
        nargs="?",
        const=frozenset({1, 2}),
        default=frozenset(),
        metavar="STREAMS",
        help="begin each line of the command's output with its rank, and show it even with "
        "--log-dir; STREAMS: 1 stdout, 2 stderr, 3 both (default: 3)",
    )
    parser.add_argument(
        "-r",
        "--redirects",
        type=_streams,
        metavar="STREAMS",
        help="which streams --log-dir writes, as for --tee (default: 3)",
    )
    parser.add_argument(
        "--event-log",
        metavar="FILE",
        help="append a line of JSON to FILE for each thing that happens to this node: joined,"
        " changed, started, failed, left, and so on",
    )
    add_log_format(parser)


def _processes(text: str) -> int:
    if text in ("auto", "gpu"):
        count = count_gpus(os.environ)
        if count == 0 and text == "gpu":
            raise _options.OptionError("this machine has no GPU that a command could see")
        return count or 1
    if text == "cpu":
        return min(count_cpus(), _PROCESSES_MAX)
    try:
        return _options.whole_number(1, _PROCESSES_MAX)(text)
    except _options.OptionError:
        raise _options.OptionError(
            f"{text!r} is not auto, gpu, cpu, or a number of processes from 1 to {_PROCESSES_MAX}"
        ) from None


def _streams(text: str) -> frozenset[int]:
    """As torchrun's --tee has it, without different streams for different processes."""
    try:
        number = _options.whole_number(0, 3)(text)
    except _options.OptionError:
        raise _options.OptionError(
            f"{text!r} is not 0 (none), 1 (stdout), 2 (stderr) or 3 (both)"
        ) from None
    return frozenset(stream for stream in (1, 2) if number & stream)


def complete(args: argparse.Namespace) -> None:
    """Fill in what the user has not said, or fail with what is missing."""
    fail: Callable[[str], NoReturn] = args.fail
    if args.redirects and args.log_dir is None:
        args.fail("--redirects needs a --log-dir")
    for name in ("log_dir", "event_log", "health_check"):
        if getattr(args, name) == "":
            fail(f"--{name.replace('_', '-')} is empty (an unset shell variable?)")
    args.found, args.has_found_endpoint, args.has_found_nodes = None, False, False
    args.endpoint_is_tls = False
    if args.standalone:
        _complete_standalone(args)
        return
    args.found = found = look_around(os.environ)
    for scheme in ("tcp://", "tcps://"):
        if args.endpoint is not None and args.endpoint.startswith(scheme):
            args.endpoint = args.endpoint.removeprefix(scheme)
            args.endpoint_is_tls = scheme == "tcps://"
    if args.endpoint is None and _is_file(args):
        fail("--endpoint is needed: the path of the file that all nodes share")
    if args.endpoint is None:
        args.endpoint = _options.server_from_environment()
        text = _options.endpoint_from_environment() or ""
        args.endpoint_is_tls = text.startswith("tcps://")
    if args.endpoint is None:
        if found is None or found.endpoint is None or args.backend in _options.ETCD_BACKENDS:
            fail(f"--endpoint is needed{_why_not(found)}")
        args.endpoint, args.has_found_endpoint = found.endpoint, True
    if args.nodes is None:
        if found is None or found.nodes is None:
            fail(f"--nodes is needed{_how_many(found)}")
        args.nodes, args.has_found_nodes = (found.nodes, found.nodes), True


def _is_file(args: argparse.Namespace) -> bool:
    return any(pairs.get("store_type", "").lower() == "file" for pairs in args.rdzv_conf)


def _complete_standalone(args: argparse.Namespace) -> None:
    for name in ("endpoint", "nodes", "listen_fd"):
        if getattr(args, name) is not None and (name, args.nodes) != ("nodes", (1, 1)):
            option = name.replace("_", "-")
            args.fail(f"--standalone is a job of only this node: omit --{option}")
    if args.backend != "c10d" or _is_file(args):
        args.fail("--standalone is a job of only this node: omit --backend and store_type")
    args.endpoint, args.nodes = "127.0.0.1:0", (1, 1)


def _why_not(found: Surroundings | None) -> str:
    if found is None or found.endpoint is not None:
        return ": the host and port where all nodes meet, such as node0:29400"
    return f": {found.manager} runs this, but {found.source}"


def _how_many(found: Surroundings | None) -> str:
    if found is None:
        return ": how many nodes the job has, such as 4 or 2:8"
    hint = "; or start exec with srun" if found.manager == "SLURM" else ""
    return f": {found.manager} does not say how many exec it has started{hint}"
