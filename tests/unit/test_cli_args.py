"""The arguments of the command `rendezvous`: what is accepted, and what a mistake is told."""

from __future__ import annotations

import argparse
import re

import pytest

from rendezvous.cli import exits as _exit
from rendezvous.cli import options as _options
from rendezvous.cli.main import build_parser, main, parse

MANAGERS = (
    "SLURM_JOB_ID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID",
    "PBS_NODEFILE",
)  # fmt: skip
COMMANDS = (
    "exec", "serve", "demo", "status", "doctor", "close", "bench",
    "get", "set", "add", "cas", "wait", "delete", "keys",
    "push", "pop", "length", "barrier", "exchange", "completion",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a workload manager that names one."""
    for name in ("RENDEZVOUS_ENDPOINT", *MANAGERS):
        monkeypatch.delenv(name, raising=False)


def _refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(argv)
    assert stop.value.code == _exit.USAGE
    return capsys.readouterr().err


@pytest.mark.parametrize(("text", "pair"), [("4", (4, 4)), ("2:8", (2, 8)), ("1:1", (1, 1))])
def test_nodes(text: str, pair: tuple[int, int]) -> None:
    """One number is both bounds."""
    assert _options.nodes(text) == pair


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "3:2", "2:", ":2", "1:2:3", "1.5"])
def test_nodes_that_make_no_sense(text: str) -> None:
    """The message repeats what was given."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not MIN|at least 1|less than"):
        _options.nodes(text)


def test_conf() -> None:
    """Pairs are separated by commas, blanks around them do not count, and = may be in a value."""
    assert _options.conf("a=1, b = x=y ,") == {"a": "1", "b": "x=y"}
    assert _options.conf("") == {}


@pytest.mark.parametrize("text", ["a", "=1", "a=1,b"])
def test_conf_that_is_no_pair(text: str) -> None:
    """A part without a name or = is refused with an example."""
    with pytest.raises(argparse.ArgumentTypeError, match="KEY=VALUE"):
        _options.conf(text)


def test_conf_refuses_what_has_an_option() -> None:
    """A setting that is an option is not accepted twice."""
    with pytest.raises(argparse.ArgumentTypeError, match="--run-id"):
        _options.conf("run_id=x")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon", ""])
def test_seconds_that_are_none(text: str) -> None:
    """A time is finite and not negative."""
    with pytest.raises(argparse.ArgumentTypeError, match="seconds"):
        _options.seconds(text)


def test_exec_takes_the_command_as_it_is() -> None:
    """What follows -- belongs to the command, options of ours and a second -- included."""
    command = ["python", "--nodes", "-v", "--", "--help"]
    args = parse(["exec", "--endpoint", "h", "--nodes", "2:4", "--", *command])
    assert args.command == command
    assert args.nodes == (2, 4)
    assert not args.verbose


def test_exec_merges_settings() -> None:
    """--rdzv-conf may be given several times."""
    args = parse(
        ["exec", "--endpoint", "h", "--nodes", "1", "--rdzv-conf", "a=1", "--rdzv-conf", "b=2",
         "--", "x"]
    )  # fmt: skip
    assert args.rdzv_conf == [{"a": "1"}, {"b": "2"}]


def test_exec_takes_torchruns_spellings() -> None:
    """With - and with _; the words of the command stay as they are."""
    words = ["--rdzv_endpoint=h:1", "--nnodes", "2:4", "--nproc_per_node", "3", "--rdzv-id", "a_b",
             "--rdzv_backend", "c10d", "--max_restarts=2", "--rdzv_conf", "join_timeout=5",
             "--log_dir", "my_logs", "-t", "2", "-r", "1"]  # fmt: skip
    args = parse(["exec", *words, "--", "train", "--batch_size=3"])
    assert (args.endpoint, args.nodes, args.procs_per_node) == ("h:1", (2, 4), 3)
    assert (args.run_id, args.backend, args.max_restarts) == ("a_b", "c10d", 2)
    assert args.rdzv_conf == [{"join_timeout": "5"}]
    assert (args.log_dir, args.tee, args.redirects) == ("my_logs", {2}, {1})
    assert args.command == ["train", "--batch_size=3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--standalone", "--endpoint", "h"], "omit --endpoint"),
        (["--standalone", "--nodes", "2"], "omit --nodes"),
        (["--endpoint", "h"], "--nodes is needed: how many nodes the job has"),
        (["--nodes", "2"], "--endpoint is needed: the host and port"),
        (["--standalone", "--procs-per-node", "0"], "'0' is not auto, gpu, cpu, or a number"),
        (["--standalone", "--tee", "4"], "'4' is not 0 (none), 1 (stdout)"),
        (["--standalone", "--redirects", "3"], "--redirects needs a --log-dir"),
        (["--standalone", "--rdzv-conf", "store_type=file"], "omit --backend and store_type"),
        (["--standalone", "--log-dir", ""], "--log-dir is empty (an unset shell variable?)"),
        (["--standalone", "--health-check", ""], "--health-check is empty (an unset shell"),
        (["--standalone", "--backend", "etcd"], "omit --backend and store_type"),
    ],
)
def test_what_exec_cannot_do(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Is said before anything begins."""
    assert message in _refused(capsys, "exec", *words, "--", "x")


def test_a_file_is_not_found_where_a_manager_would_put_a_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a server's address the name of a file."""
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "node0:29400")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu1")
    words = ("exec", "--nodes", "2", "--rdzv-conf", "join_timeout=5,store_type=File", "--", "x")
    assert "--endpoint is needed: the path of the file" in _refused(capsys, *words)


def test_alone_is_alone_also_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them that SLURM has started on one machine are two jobs of one process each."""
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_NODELIST": "gpu1",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_PROCID": "1",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "1",
        "SLURM_NTASKS": "2",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert parse(["exec", "--", "x"]).found.beside is not None
    assert parse(["exec", "--standalone", "--", "x"]).found is None


def test_exec_fills_in_what_slurm_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user says comes first."""
    step = {
        "SLURM_JOB_ID": "5",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "n[3-6]",
        "SLURM_STEP_NUM_TASKS": "4",
    }
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    args = parse(["exec", "--", "x"])
    assert (args.endpoint, args.nodes) == ("n3:20005", (4, 4))
    args = parse(["exec", "--nodes", "2:4", "--endpoint", "h", "--", "x"])
    assert (args.endpoint, args.nodes) == ("h", (2, 4))
    monkeypatch.delenv("SLURM_STEP_ID")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    assert "start exec with srun" in _refused(capsys, "exec", "--", "x")


def test_exec_without_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    """Who forgets -- is told about it."""
    message = _refused(capsys, "exec", "--endpoint", "h", "--nodes", "1", "python", "train.py")
    assert "goes after --" in message
    message = _refused(capsys, "exec", "--endpoint", "h", "--nodes", "1", "--")
    assert "no command to run" in message


def test_exec_needs_an_endpoint_from_somewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is an option or RENDEZVOUS_ENDPOINT; there is no guess."""
    assert "--endpoint" in _refused(capsys, "exec", "--nodes", "1", "--", "x")
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "node0:1234")
    assert parse(["exec", "--nodes", "1", "--", "x"]).endpoint == "node0:1234"
    # As the command of a run on etcd has it: a store, and not where runs meet.
    # As a command of exec has it.
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "tcp://node0:1234/runs/outer")
    assert parse(["exec", "--nodes", "1", "--", "x"]).endpoint == "node0:1234"
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "etcd://a,b/store/run")
    assert "--endpoint" in _refused(capsys, "exec", "--nodes", "1", "--", "x")


def test_store_commands_take_the_endpoint_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--endpoint, else RENDEZVOUS_ENDPOINT, else this machine."""
    assert parse(["get", "k"]).endpoint == "tcp://127.0.0.1:29400"
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "node0")
    assert parse(["get", "k"]).endpoint == "tcp://node0:29400"
    assert parse(["get", "k", "--endpoint", "[::1]:5"]).endpoint == "tcp://[::1]:5"
    assert parse(["get", "k", "--endpoint", "etcd://a,b/c"]).endpoint == "etcd://a,b/c"
    monkeypatch.setenv("RENDEZVOUS_ENDPOINT", "node0:99999")
    assert "99999" in _refused(capsys, "get", "k")


@pytest.mark.parametrize(
    "argv",
    [
        ["no-such-command"],
        ["serve", "--port", "65536"],
        ["serve", "extra"],
        ["demo", "--nodes", "0"],
        ["get"],
        ["add", "k", "1.5"],
        ["add", "k", str(2**63)],
        ["wait"],
        ["get", "k", "--timeout", "-1"],
        ["exec", "--endpoint", "h", "--nodes", "1", "--max-restarts", "-1", "--", "x"],
    ],
)
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """A mistake shows the usage and what is wrong."""
    message = _refused(capsys, *argv)
    assert message.startswith("usage: rendezvous")
    assert "error: " in message


def test_add_takes_negative_numbers() -> None:
    """-5 is a number and no option."""
    assert parse(["add", "k", "-5"]).amount == -5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Every command shows how it is used, in lines that fit a terminal."""
    with pytest.raises(SystemExit) as stop:
        parse([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "exit codes:" in text
    assert "130" in text or command == "exec"
    assert all(len(line) <= 90 for line in text.splitlines())


def test_help_lists_every_command() -> None:
    """The first help names each command with what it is for."""
    text = build_parser().format_help()
    assert all(re.search(f"^    {command}\\s", text, re.MULTILINE) for command in COMMANDS)


def test_nothing_to_do_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`rendezvous` alone is a question."""
    assert main([]) == _exit.USAGE
    assert "start here:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version names what a bug report needs, a line each."""
    with pytest.raises(SystemExit) as stop:
        parse(["--version"])
    assert stop.value.code == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"rendezvous \d+\.\d+\.\d+", first)
    assert [line.partition(":")[0] for line in rest] == ["commit", "compiler", "TLS", "Python"]
    assert all(line.partition(":")[2].strip() for line in rest)
