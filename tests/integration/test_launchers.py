"""The launchers of docs/launchers.md, each as its section has it; real ones, if installed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import machines as _machines
from support.cli import (
    BACKSTOP_S,
    Cli,
    Running,
    environment,
    free_port,
    report_command,
    reports_of_round,
    stop,
    wait_for,
)
from support.launchers import SHOW, shown, start_program
from support.machines import Machine, machines

from rendezvous.cli.main import parse

EXAMPLES = Path(__file__).parents[2] / "examples"
LAUNCHERS = EXAMPLES / "launchers"
PAGE = Path(__file__).parents[2] / "docs" / "launchers.md"
# However slow this machine is, nobody is taken for dead before the test has it killed.
CONF = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=60"


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


SSH = """\
#!/bin/sh
# As sshd does it: the words become one line for a shell of the host.
shift; host=$1; shift
echo "$host" >> hosts
exec sh -c "$*"
"""


def test_ssh(tmp_path: Path) -> None:
    """The script for plain ssh, with something in ssh's place that stays on this machine."""
    fake = tmp_path / "ssh"
    fake.write_text(SSH)
    fake.chmod(0o755)
    (tmp_path / "show.py").write_text(SHOW)
    command = [str(LAUNCHERS / "ssh.sh"), "localhost", "localhost", "--", sys.executable, "show.py"]
    port = str(free_port())
    env = {"SSH": f"{fake} -tt", "PORT": port, "PROCS": "2"}
    with start_program(["bash", *command], tmp_path, **env) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert sorted(each["RANK"] for each in shown(text)) == list("0123")
    assert (tmp_path / "hosts").read_text().split() == ["localhost"] * 2


def test_ssh_keeps_the_words_of_a_command_apart(tmp_path: Path) -> None:
    """With spaces, quotes and what means something to a shell; and says how it is used."""
    fake = tmp_path / "ssh"
    fake.write_text(SSH)
    fake.chmod(0o755)
    script = str(LAUNCHERS / "ssh.sh")
    words = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "two words", "$HOME", "it's"]
    env = {"SSH": f"{fake} -tt", "PORT": str(free_port()), "PROCS": "1"}
    with start_program(["bash", script, "localhost", "--", *words], tmp_path, **env) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert str(words[3:]) in text.splitlines()
    for wrong in (["node0"], ["--", "true"], ["node0", "--"], []):
        with start_program(["bash", script, *wrong], tmp_path) as program:
            text = program.communicate(timeout=BACKSTOP_S)[0]
        assert program.returncode == 2
        assert "usage: ssh.sh HOST... -- COMMAND" in text


def test_the_manifests_of_kubernetes_fit_together() -> None:
    """Names, ports and the command: what the pods would be started with is taken by exec."""
    service, job = yaml.safe_load_all((LAUNCHERS / "kubernetes.yaml").read_text())
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [93]
    (container,) = pod["containers"]
    (mounted,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mounted["name"] == volume["name"]
    assert volume["secret"]["secretName"] == "rendezvous-token"
    (token,) = container["env"]
    assert token == {
        "name": "RENDEZVOUS_TOKEN_FILE",
        "value": f"{mounted['mountPath']}/token",
    }
    program, *words = container["command"]
    assert program == "rendezvous"
    args = parse([*words[:1], "--endpoint", "pod-0", *words[1:]])
    assert args.nodes == (job["spec"]["completions"],) * 2
    assert args.command == ["python", "train.py"]
    assert args.wait_for_replacements


@pytest.fixture
def pods() -> Iterator[list[Machine]]:
    """Three pods of an Indexed Job, each on a network and with a name of its own."""
    missing = _machines.why_not()
    if missing:
        pytest.skip(missing)
    with machines([f"train-{index}" for index in range(3)]) as made:
        for machine in made:
            machine.know(f"{machine.address} {_full(machine)} {machine.name}")
        yield made


def _full(machine: Machine) -> str:
    return f"{machine.name}.train.ml.svc.cluster.local"


def _resolve(machines: list[Machine]) -> None:
    """From now on, the headless Service knows these pods."""
    lines = [f"{each.address} {_full(each)}" for each in machines]
    for each in machines:
        each.know(f"{each.address} {_full(each)} {each.name}", *lines)


def _start_pod(cli: Cli, machine: Machine, index: int, nodes: str, directory: Path) -> Running:
    return cli.start(
        "exec", "--nodes", nodes, "--rdzv-conf", CONF, "--wait-for-replacements",
        *report_command(directory), before=machine.before, JOB_COMPLETION_INDEX=str(index),
    )  # fmt: skip


def test_pods_that_start_late_and_whose_names_do_not_resolve_at_first(
    cli: Cli, tmp_path: Path, pods: list[Machine]
) -> None:
    """The others are there long before pod 0, which hosts; its name comes later than they do, and
    itself later than its name."""
    waiting = [_start_pod(cli, pods[index], index, "3", tmp_path) for index in (2, 1)]
    for each in waiting:
        each.line("no store answers at train-0.train.ml.svc.cluster.local:29400 yet")
    _resolve(pods)
    for each in waiting:
        before = each.stderr.count("\n")
        wait_for("another try", lambda each=each, before=before: each.stderr.count("\n") > before)  # type: ignore[misc]
    host = _start_pod(cli, pods[0], 0, "3", tmp_path)
    found = reports_of_round(tmp_path, 3)
    assert host.line("serving the rendezvous store at train-0.train.ml.svc.cluster.local:29400")
    by_parent = {each["parent"]: int(each["env"]["RANK"]) for each in found}
    # Addresses follow the indexes here, and ranks the addresses.
    assert [by_parent[each.process.pid] for each in (host, waiting[1], waiting[0])] == [0, 1, 2]
    stop(tmp_path)
    assert [each.end() for each in (host, *waiting)] == [0, 0, 0]


def test_a_pod_that_is_replaced(cli: Cli, tmp_path: Path, pods: list[Machine]) -> None:
    """Pod 1 fails; the Job starts it again, under its name."""
    _resolve(pods)
    script = "while ! test -e fail; do sleep 0.05; done; exit 3"
    others = [_start_pod(cli, pods[index], index, "3", tmp_path) for index in (0, 2)]
    failing = cli.start(
        "exec", "--nodes", "3", "--rdzv-conf", CONF, "--wait-for-replacements", "--",
        "sh", "-c", script, before=pods[1].before, JOB_COMPLETION_INDEX="1",
    )  # fmt: skip
    for each in others:
        each.line("round 1")
    (tmp_path / "fail").touch()
    assert failing.end() == 3
    again = _start_pod(cli, pods[1], 1, "3", tmp_path)
    found = reports_of_round(tmp_path, 3, after=1)
    assert again.process.pid in {each["parent"] for each in found}
    stop(tmp_path)
    assert [each.end() for each in (*others, again)] == [0, 0, 0]


class _Program:
    """An example that runs, and what it has printed."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *argv],
            cwd="/",
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line

    def says(self, pattern: str) -> re.Match[str]:
        return wait_for(f"{pattern} in {self.text}", lambda: re.search(pattern, self.text))

    def end(self) -> int:
        code = self.process.wait(BACKSTOP_S)
        self._reader.join(BACKSTOP_S)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def programs() -> Iterator[list[_Program]]:
    made: list[_Program] = []
    yield made
    for each in made:
        each.close()


def test_a_member_of_a_serving_group_is_started_again_into_its_slot(
    cli: Cli, programs: list[_Program]
) -> None:
    """The others keep theirs, however often."""
    _, endpoint = cli.serve()
    words = (str(LAUNCHERS / "serving.py"), endpoint, "3:3")
    programs += [_Program(*words) for _ in range(3)]
    slots = [int(each.says(r"round 1: serving slot (\d) of 3")[1]) for each in programs]
    assert sorted(slots) == [0, 1, 2]
    victim = slots.index(1)
    programs[victim].process.send_signal(signal.SIGKILL)
    programs[victim].end()
    programs.append(_Program(*words))
    assert programs[-1].says(r"round [2-9]: serving slot (\d) of 3")[1] == "1"
    kept = [
        int(each.says(r"round [2-9]: serving slot (\d) of 3")[1])
        for each in programs[:3]
        if each is not programs[victim]
    ]
    assert kept == [slot for slot in slots if slot != 1]


def test_a_launcher_of_ones_own(programs: list[_Program]) -> None:
    """examples/join.py: one node, then two; both add up, and end."""
    words = (str(EXAMPLES / "join.py"), f"127.0.0.1:{free_port()}", "2")
    programs += [_Program(*words) for _ in range(2)]
    assert [each.end() for each in programs] == [0, 0]
    for each in programs:
        assert "sum: 20" in each.text


def test_the_page_shows_commands_that_exec_takes() -> None:
    """Each line of it that starts an exec, with what a manager would say."""
    text = PAGE.read_text() + (Path(__file__).parents[2] / "README.md").read_text()
    commands = re.findall(r"(?:^|`|\s)rendezvous (exec [^`\n]*? -- [^`\n]+)", text)
    assert len(commands) > 6
    for command in commands:
        words = [word for word in command.split() if word != "..."]
        extra = []
        if not any(name in command for name in ("--endpoint", "--rdzv-endpoint", "--standalone")):
            extra = ["--endpoint", "h"]
        if not any(name in command for name in ("--nodes", "--nnodes", "--standalone")):
            extra += ["--nodes", "2"]
        args = parse([words[0], *extra, *words[1:]])
        assert args.command[0] in ("python", "torchrun"), command
