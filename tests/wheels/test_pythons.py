"""Wheels on the Pythons of this machine, each in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pythons

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TAGS = [each.partition("-")[0] for each in PROJECT["tool"]["cibuildwheel"]["build"]]
# What may differ with the Python, or with the C library that the wheel was compiled for. Deadlines
# by the monotonic clock are most of it.
TESTS = (
    "contract/test_store_contract.py",
    "integration/test_wall_clock.py",
    "integration/test_subinterpreters.py",
    "unit/test_signatures.py",
)


@pytest.fixture(params=TAGS)
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, wheel_of: Callable[[str, str], Path]
) -> Path:
    """A virtual environment of each Python that is here, with its wheel."""
    wheel = wheel_of(request.param, os.uname().machine)
    python = pythons.find(request.param, in_debian=False)
    if isinstance(python, str):
        pytest.skip(python)
    venv = tmp_path / "venv"
    subprocess.run([python.path, "-m", "venv", venv], check=True)
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, env=without_pip_settings())
    return venv


def without_pip_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}


def test_the_demo_meets_on_each_python(environment: Path) -> None:
    """Nothing but the wheel is installed. With a token it meets, too."""
    words: list[str | Path] = [environment / "bin" / "rendezvous", "demo", "--nodes", "4"]
    for setting in ({}, {"RENDEZVOUS_TOKEN": "0123456789abcdef0123456789abcdef"}):
        done = subprocess.run(
            words, env=os.environ | setting, capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_has_its_own_openssl_beside_python_s(environment: Path) -> None:
    """Both shake hands in one process, in turn, and the command names the wheel's."""
    words: list[str | Path] = [
        environment / "bin" / "python",
        ROOT / "tests/wheels/two_openssls.py",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    words = [environment / "bin" / "rendezvous", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert re.search(r"TLS:      OpenSSL 3\.\d+\.\d+ .*, in the wheel", done.stdout), done.stdout


def test_the_wheel_keeps_contract_and_deadlines_on_each_python(
    environment: Path, packages: Path, tmp_path: Path
) -> None:
    """The tests that may fail on one Python, or on an old C library, alone."""
    copy = tmp_path / "packages"
    shutil.copytree(packages, copy)
    words: list[str | Path] = [
        *(environment / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-k", "not etcd"),
        *(ROOT / "tests" / each for each in TESTS),
    ]
    done = subprocess.run(
        words,
        cwd="/",
        env=without_pip_settings() | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{environment}: {done.stdout.splitlines()[-1] if done.stdout else done.stderr}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
