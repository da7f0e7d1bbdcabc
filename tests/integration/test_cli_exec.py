"""`rendezvous exec` on one node: the command, its environment, signals and exit codes."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
from support.cli import Cli, Running, free_port, report_command, reports_of_round, stop, wait_for
from support.proc import alive, state


def _python(source: str, *arguments: str) -> list[str]:
    return ["--", sys.executable, "-I", "-S", "-c", source, *arguments]


def _alone(cli: Cli, *words: str) -> Running:
    """An exec that is a job of one node, and hosts its own store."""
    return cli.start_exec(f"127.0.0.1:{free_port()}", "1", *words)


def test_environment_of_the_command(cli: Cli, tmp_path: Path) -> None:
    """The command learns rank, size, address, and that a store is served for torch."""
    endpoint = f"127.0.0.1:{free_port()}"
    running = cli.start_exec(endpoint, "1", "--run-id", "job 7", *report_command(tmp_path))
    [report] = reports_of_round(tmp_path, 1)
    env = report["env"]
    expected = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "NODE_RANK": "0",
        "NNODES": "1",
        "RENDEZVOUS_RUN_ID": "job 7",
        "RENDEZVOUS_ROUND": "1",
        "RENDEZVOUS_ENDPOINT": f"tcp://{endpoint}/runs/job%25207",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": "job 7",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    assert {key: env[key] for key in expected} == expected
    # The store that the command is told of answers.
    url = env["RENDEZVOUS_ENDPOINT"]
    assert cli.run("add", "from the command", RENDEZVOUS_ENDPOINT=url).stdout == b"1\n"
    with socket.create_connection((env["MASTER_ADDR"], int(env["MASTER_PORT"])), 60):
        pass
    stop(tmp_path)
    assert running.end() == 0


def test_without_bootstrap_store_the_port_is_free(cli: Cli, tmp_path: Path) -> None:
    """--no-bootstrap-store leaves MASTER_PORT to rank 0's command, and tells torch nothing."""
    source = (
        "import os, socket\n"
        "assert not [k for k in os.environ if k.startswith('TORCHELASTIC')]\n"
        "with socket.create_server(('', int(os.environ['MASTER_PORT']))): print('served')\n"
    )
    running = cli.start(
        "exec", "--endpoint", f"127.0.0.1:{free_port()}", "--nodes", "1",
        "--no-bootstrap-store", *_python(source), TORCHELASTIC_USE_AGENT_STORE="True",
    )  # fmt: skip
    assert running.end() == 0, running.stderr
    assert running.stdout == "served\n"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(42)", 42),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_exit_code_is_the_commands(cli: Cli, source: str, code: int) -> None:
    """The exit code is the command's, or 128 + n when signal n ended it."""
    assert _alone(cli, *_python(source)).end() == code


def test_stdin_stdout_and_stderr_are_the_commands(cli: Cli) -> None:
    """What the command reads and writes passes through untouched; exec logs to stderr alone."""
    done = cli.run(
        "exec", "--endpoint", f"127.0.0.1:{free_port()}", "--nodes", "1", "--", "cat",
        stdin=b"in\0out",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"in\0out")


def test_the_command_gets_no_descriptor_of_ours(cli: Cli) -> None:
    """Sockets and pipes of exec stay in exec."""
    source = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
    running = _alone(cli, *_python(source))
    assert running.end() == 0
    # 3 is the directory that is being listed.
    assert running.stdout == "[0, 1, 2, 3]\n"


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_the_command_which_decides(cli: Cli, signum: int) -> None:
    """A signal to exec is the command's to handle; exec goes on as long as it does."""
    if signal.getsignal(signum) is signal.SIG_IGN:
        pytest.skip("whoever started the tests has it ignored, as nohup does; exec leaves it so")
    source = (
        "import signal, sys\n"
        "n = int(sys.argv[1])\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [n, signal.SIGTERM])\n"
        "print('ready', flush=True)\n"
        "assert signal.sigwait([n]) == n\n"
        "print('got', n, flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\n"
        "sys.exit(7)\n"
    )
    running = _alone(cli, *_python(source, str(int(signum))))
    running.line("ready", "stdout")
    running.send(signum)
    running.line(f"got {int(signum)}", "stdout")
    running.send(signal.SIGTERM)
    assert running.end() == 7


def test_ctrl_c_ends_a_command_that_does_not_care(cli: Cli) -> None:
    """Ctrl-C ends command and exec, with 130."""
    running = _alone(cli, "--", "sh", "-c", "echo ready; exec sleep 1000")
    running.line("ready", "stdout")
    running.send(signal.SIGINT)
    assert running.end() == 130
    assert "Traceback" not in running.stderr
    assert " ERROR " not in running.stderr


def test_a_command_that_fails_in_its_own_way_after_ctrl_c_is_told_with_its_last_line(
    cli: Cli,
) -> None:
    """It was not the signal that ended it."""
    source = (
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('ready', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "sys.exit('out of memory')\n"
    )
    running = _alone(cli, *_python(source))
    running.line("ready", "stdout")
    running.send(signal.SIGINT)
    assert running.end() == 1
    assert "interrupted" not in running.stderr
    assert "its last line: 'rank 0: out of memory'" in running.stderr


def test_a_command_that_ignores_sigterm_is_killed_after_grace(cli: Cli) -> None:
    """SIGTERM gives the command --grace seconds."""
    source = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: signal.pause()\n"
    )
    running = _alone(cli, "--grace", "0.3", *_python(source))
    running.line("ready", "stdout")
    running.send(signal.SIGTERM)
    assert running.end() == 137
    assert "did not end within 0.3 s of SIGTERM" in running.stderr


def test_what_a_failed_command_left_running_is_stopped(cli: Cli, tmp_path: Path) -> None:
    """A failed command's children do not go on holding the machine."""
    script = "sleep 1000 & echo $! > pid.part; mv pid.part pid; exit 3"
    assert _alone(cli, "--", "sh", "-c", script).end() == 3
    assert not alive(int((tmp_path / "pid").read_text()))


def test_killing_exec_kills_the_command_and_its_children(cli: Cli, tmp_path: Path) -> None:
    """When exec is killed, nothing of its command goes on, at any depth."""
    script = "sleep 1000 & echo $$ $! > pids.part; mv pids.part pids; wait"
    running = _alone(cli, "--", "sh", "-c", script)
    path = tmp_path / "pids"
    wait_for("the command", path.exists)
    pids = [int(word) for word in path.read_text().split()]
    running.send(signal.SIGKILL)
    wait_for("their end", lambda: not any(map(alive, pids)))


def test_a_stopped_job_goes_on_after_sigcont(cli: Cli, tmp_path: Path) -> None:
    """Ctrl-Z stops the command too, and `fg` continues both."""
    running = _alone(cli, "--rdzv-conf", "keep_alive_interval=60", *report_command(tmp_path))
    [report] = reports_of_round(tmp_path, 1)
    running.send(signal.SIGTSTP)
    wait_for("both stopped", lambda: state(running.process.pid) == state(report["pid"]) == "T")
    running.send(signal.SIGCONT)
    wait_for("both going", lambda: state(running.process.pid) != "T" != state(report["pid"]))
    stop(tmp_path)
    assert running.end() == 0


def test_a_failed_command_is_started_again(cli: Cli, tmp_path: Path) -> None:
    """--max-restarts runs it again, in a new round."""
    script = "echo $RENDEZVOUS_ROUND; test -e again || { touch again; exit 5; }"
    running = _alone(cli, "--max-restarts", "1", "--", "sh", "-c", script)
    assert running.end() == 0, running.stderr
    rounds = [int(line) for line in running.stdout.split()]
    assert len(rounds) == 2
    assert rounds[0] < rounds[1]


def test_restarts_are_counted(cli: Cli) -> None:
    """After the last restart, the command's failure is exec's."""
    running = _alone(cli, "--max-restarts", "2", "--", "sh", "-c", "echo once; exit 5")
    assert running.end() == 5
    assert running.stdout == "once\n" * 3


def test_command_not_found(cli: Cli, tmp_path: Path) -> None:
    """127 as in a shell, before joining: the other nodes do not wait for a typing mistake."""
    done = _alone(cli, "--", "no-such-command")
    assert done.end() == 127
    assert done.stderr.endswith("] exec: command not found in PATH: no-such-command\n")
    assert " ERROR [" in done.stderr
    (tmp_path / "data.txt").write_text("")
    done = _alone(cli, "--", "./data.txt")
    assert done.end() == 126
    assert "./data.txt" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_command_that_the_kernel_refuses(cli: Cli, tmp_path: Path) -> None:
    """A script whose interpreter is missing is found out only when it is started."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    running = _alone(cli, "--", "./script")
    assert running.end() == 127
    assert "Traceback" not in running.stderr
    assert "./script" in running.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_joining(cli: Cli, signum: int) -> None:
    """Who waits for other nodes can be stopped, without a traceback."""
    running = cli.start_exec(f"127.0.0.1:{free_port()}", "2", "--", "true")
    running.line("joining")
    running.send(signum)
    assert running.end() == 128 + signum
    assert "Traceback" not in running.stderr


def test_too_few_nodes(cli: Cli) -> None:
    """When the nodes do not meet in time, exec says so and fails."""
    running = cli.start_exec(
        f"127.0.0.1:{free_port()}", "2", "--rdzv-conf", "join_timeout=0.3", "--", "true"
    )
    assert running.end() == 1
    assert "Traceback" not in running.stderr
    assert "ERROR" in running.stderr


def test_no_server_and_not_the_host(cli: Cli) -> None:
    """A node that shall not host and finds no server says which endpoint it tried."""
    port = free_port()
    running = cli.start_exec(
        f"127.0.0.1:{port}", "1", "--rdzv-conf", "is_host=0,join_timeout=0.5", "--", "true"
    )
    assert running.end() == 1
    assert f"127.0.0.1:{port}" in running.stderr
    assert "Traceback" not in running.stderr


def test_wrong_setting(cli: Cli) -> None:
    """A setting that is no number is a mistake in the arguments."""
    running = _alone(cli, "--rdzv-conf", "join_timeout=soon", "--", "true")
    assert running.end() == 2
    assert "join_timeout" in running.stderr
    assert "Traceback" not in running.stderr


def test_misspelt_setting(cli: Cli) -> None:
    """A setting that nobody knows is refused, with what may have been meant."""
    running = _alone(cli, "--rdzv-conf", "join_timout=5", "--", "true")
    assert running.end() == 2
    assert "Traceback" not in running.stderr
    assert "'join_timout' has no effect; is it join_timeout?" in running.stderr


def test_rulebook(cli: Cli) -> None:
    """Who keeps the run can be chosen, and a word that chooses nothing is a mistake."""
    running = _alone(cli, "--rdzv-conf", "rulebook=store", "--", "true")
    assert running.end() == 0
    assert "has no effect" not in running.stderr
    running = _alone(cli, "--rdzv-conf", "rulebook=nobody", "--", "true")
    assert running.end() == 2
    assert "rulebook is 'nobody'; use " in running.stderr
    assert "Traceback" not in running.stderr


def test_other_settings_than_the_group(cli: Cli, tmp_path: Path) -> None:
    """A node started with other numbers of nodes is told so, and disturbs nobody."""
    endpoint = f"127.0.0.1:{free_port()}"
    first = cli.start_exec(endpoint, "1", *report_command(tmp_path))
    reports_of_round(tmp_path, 1)
    other = cli.start_exec(endpoint, "2:3", "--", "true")
    assert other.end() == 1
    assert "Traceback" not in other.stderr
    stop(tmp_path)
    assert first.end() == 0
