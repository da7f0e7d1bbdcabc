"""The launchers of docs/launchers.md, each as its section has it; real ones, if installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support import machines as _machines
from support import slurm as _slurm
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
from support.machines import Machine, machines
from support.slurm import Slurm, slurm

from rendezvous.cli.main import parse

EXAMPLES = Path(__file__).parents[2] / "examples"
LAUNCHERS = EXAMPLES / "launchers"
PAGE = Path(__file__).parents[2] / "docs" / "launchers.md"
# However slow this machine is, nobody is taken for dead before the test has it killed.
CONF = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=60"
SHOW = """\
import os
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "SLURM_NODEID",
         "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
line = " ".join(name + "=" + os.environ.get(name, "") for name in names)
os.write(1, f"SHOW {line}\\n".encode())
"""


@pytest.fixture(autouse=True)
def twice(open_and_with_token: None) -> None:
    """All that follows runs without a token and with one."""


def shown(text: str) -> list[dict[str, str]]:
    """What SHOW has printed, of all processes."""
    lines = [line.partition("SHOW ")[2] for line in text.splitlines() if "SHOW " in line]
    return [dict(word.split("=", 1) for word in line.split()) for line in lines]


def start_program(argv: list[str], cwd: Path, **env: str) -> subprocess.Popen[str]:
    """With this interpreter's `rendezvous` first in PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment(PATH=path, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A SLURM of four nodes."""
    missing = _slurm.why_not()
    if missing:
        pytest.skip(missing)
    with slurm(tmp_path_factory.mktemp("slurm"), 4) as made:
        yield made


def srun(cluster: Slurm, cwd: Path, *words: str) -> subprocess.Popen[str]:
    command = [*cluster.before, "srun", "--chdir", str(cwd), "--kill-on-bad-exit=0", *words]
    return start_program(command, cwd, **cluster.env)


def test_slurm(cluster: Slurm, tmp_path: Path) -> None:
    """`srun rendezvous exec -- COMMAND` is enough: RANK is SLURM_NODEID, and with two processes a
    node, the ranks follow it."""
    command = ["rendezvous", "exec", "--procs-per-node", "2", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *command) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    found = shown(text)
    assert sorted(int(each["RANK"]) for each in found) == list(range(8))
    for each in found:
        assert each["GROUP_RANK"] == each["SLURM_NODEID"]
        node = 2 * int(each["SLURM_NODEID"])
        assert int(each["RANK"]) == node + int(each["LOCAL_RANK"])
    assert "SLURM: 4 nodes, this is node 3, the store is at n0:2" in text

    alone = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *alone) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert sorted(each["RANK"] for each in shown(text)) == list("0123"), text
    assert all(each["RANK"] == each["SLURM_NODEID"] for each in shown(text))


def test_slurm_with_several_tasks_a_node(cluster: Slurm, tmp_path: Path) -> None:
    """Each task is a node of the run, and knows its place on its machine."""
    command = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with srun(cluster, tmp_path, "--ntasks-per-node=2", "-N2", *command) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert all(each["RANK"] == each["SLURM_PROCID"] for each in shown(text)), text
    places = Counter(
        (each["SLURM_NODEID"], each["LOCAL_RANK"], each["LOCAL_WORLD_SIZE"], each["WORLD_SIZE"])
        for each in shown(text)
    )
    assert places == Counter((node, rank, "2", "4") for node in "01" for rank in "01")


def test_two_steps_of_one_job_do_not_meet(cluster: Slurm, tmp_path: Path) -> None:
    """They run side by side on the same nodes."""
    script = tmp_path / "script.sh"
    step = f"srun -n2 -N2 --overlap rendezvous exec -- {sys.executable} -c '{SHOW}' &"
    script.write_text(f"#!/bin/bash\n{step}\n{step}\nwait\n")
    script.chmod(0o755)
    job = [*cluster.before, "salloc", "-N2", "-n4", str(script)]
    with start_program(job, tmp_path, **cluster.env) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert Counter(each["RANK"] for each in shown(text)) == {"0": 2, "1": 2}, text
    assert {each["WORLD_SIZE"] for each in shown(text)} == {"2"}


def test_the_batch_script_is_what_sbatch_takes(cluster: Slurm) -> None:
    """As SLURM itself reads it."""
    done = subprocess.run(
        [*cluster.before, "sbatch", "--test-only", str(LAUNCHERS / "slurm.sbatch")],
        env=environment(**cluster.env),
        capture_output=True,
        check=False,
        timeout=BACKSTOP_S,
    )
    assert b"to start at" in done.stderr, done.stderr


def test_mpi(tmp_path: Path) -> None:
    """mpirun of Open MPI, which says which process each is; all on this machine."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed (Debian: apt-get install openmpi-bin)")
    words = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "4"]
    command = ["rendezvous", "exec", "--", sys.executable, "-c", SHOW]
    with start_program([*words, *command], tmp_path) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    found = shown(text)
    assert sorted(each["RANK"] for each in found) == list("0123"), text
    assert all(each["LOCAL_RANK"] == each["OMPI_COMM_WORLD_LOCAL_RANK"] for each in found)
    assert all(each["RANK"] == each["OMPI_COMM_WORLD_RANK"] for each in found)
    assert {(each["WORLD_SIZE"], each["LOCAL_WORLD_SIZE"]) for each in found} == {("4", "4")}
    assert "MPI: 4 nodes" in text


BENCH = ["rendezvous", "bench", "--cluster", "quick", "--report", "report.json"]


def measured(tmp_path: Path, text: str) -> tuple[str, int]:
    """Which launcher the one report says, and how many nodes are in it."""
    (line,) = [line for line in text.splitlines() if line.endswith(", quick")]
    report = json.loads((tmp_path / "report.json").read_text())
    assert line.startswith(f"{len(report['nodes'])} nodes, {report['launcher']}")
    return report["launcher"], len(report["nodes"])


def test_slurms_network_is_measured(cluster: Slurm, tmp_path: Path) -> None:
    """`srun rendezvous bench --cluster` is enough."""
    with srun(cluster, tmp_path, "--ntasks-per-node=1", "-N4", *BENCH) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert measured(tmp_path, text) == ("SLURM", 4)


def test_mpis_network_is_measured(tmp_path: Path) -> None:
    """The same by mpirun."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed (Debian: apt-get install openmpi-bin)")
    words = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3"]
    with start_program([*words, *BENCH], tmp_path) as program:
        text = program.communicate(timeout=BACKSTOP_S)[0]
    assert program.returncode == 0, text
    assert measured(tmp_path, text) == ("MPI", 3)


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
