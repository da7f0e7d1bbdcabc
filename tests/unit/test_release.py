"""What a release is made of: said once, or the same wherever it is said."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return found


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    found: dict[str, Any] = workflow["jobs"]
    return found


def built_pythons(project: dict[str, Any]) -> list[str]:
    tags = [each.partition("-")[0] for each in project["tool"]["cibuildwheel"]["build"]]
    return [f"3.{tag.removeprefix('cp3')}" for tag in tags]


def test_the_workflow_builds_each_processor_that_the_project_names(
    project: dict[str, Any], jobs: dict[str, Any]
) -> None:
    """One runner for each, and none besides."""
    matrix = jobs["wheels"]["strategy"]["matrix"]["include"]
    assert [each["arch"] for each in matrix] == project["tool"]["cibuildwheel"]["linux"]["archs"]


def test_the_workflow_leaves_what_is_built_to_the_project(jobs: dict[str, Any]) -> None:
    """cibuildwheel's settings would override pyproject.toml, where release/wheels.py reads them."""
    overrides = {
        name
        for step in jobs["wheels"]["steps"]
        for name in [*step.get("env", {}), *step.get("with", {})]
        if name.startswith("CIBW_") or name == "config-file"
    }
    assert overrides <= {"CIBW_ARCHS"}


def test_publishing_needs_no_password_and_attests_what_it_publishes(jobs: dict[str, Any]) -> None:
    """The job may ask for an identity, nothing gives it a secret, and there is a list of parts."""
    publish = jobs["publish"]
    assert publish["permissions"]["id-token"] == "write"
    assert set(publish["needs"]) == {"wheels", "sdist"}
    used = [step.get("uses", "").partition("@")[0] for step in publish["steps"]]
    assert used.index("actions/attest-build-provenance") < used.index("pypa/gh-action-pypi-publish")
    assert used.index("actions/attest-sbom") < used.index("pypa/gh-action-pypi-publish")
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


def test_wheels_are_built_for_every_python_that_is_supported(project: dict[str, Any]) -> None:
    """Classifiers, the oldest Python, the wheels, and the Pythons that nox tests."""
    pythons = built_pythons(project)
    prefix = "Programming Language :: Python :: 3."
    named = [
        f"3.{each.removeprefix(prefix)}"
        for each in project["project"]["classifiers"]
        if each.startswith(prefix)
    ]
    assert named == pythons
    assert project["project"]["requires-python"] == f">={pythons[0]}"
    sessions = (ROOT / "noxfile.py").read_text()
    assert f"@nox.session(python={pythons!r})".replace("'", '"') in sessions


def test_both_ways_to_build_wheels_use_the_same_compiler(project: dict[str, Any]) -> None:
    """cibuildwheel's environment names the command that release/wheels.py runs."""
    table = project["tool"]["cibuildwheel"]
    assert table["environment"]["CXX"] == "/project/release/zig-c++"
    script = (ROOT / "release" / "wheels.py").read_text()
    assert '"release" / "zig-c++"' in script
    shared = (ROOT / "release" / "openssl.py").read_text()
    assert f'EPOCH = "{table["environment"]["SOURCE_DATE_EPOCH"]}"' in shared
    assert 'GLIBC = "2.17"' in shared
    images = {table["linux"][f"manylinux-{each}-image"] for each in table["linux"]["archs"]}
    assert images == {"manylinux2014"}  # of glibc 2.17


def test_both_ways_to_build_wheels_link_the_same_openssl(project: dict[str, Any]) -> None:
    """cibuildwheel runs the script that release/wheels.py uses, and links what that makes."""
    table = project["tool"]["cibuildwheel"]
    folder = table["config-settings"]["cmake.define.RDZV_BUNDLED_TLS"]
    assert f"release/openssl.py {folder}" in table["linux"]["before-all"]
    assert "openssl.build(" in (ROOT / "release" / "wheels.py").read_text()
    assert "two_openssls.py" in table["test-command"]


def test_links_of_the_readme_work_where_the_package_index_shows_it(project: dict[str, Any]) -> None:
    """They are absolute, and lead to files that are there."""
    text = (ROOT / "README.md").read_text()
    base = f"{project['project']['urls']['Source']}/blob/main/"
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.M)
    assert targets
    for target in targets:
        assert target.startswith("https://"), target
        if target.startswith(project["project"]["urls"]["Source"]):
            assert target.startswith(base), target
            assert (ROOT / target.removeprefix(base)).exists(), target
    named = set(re.findall(r"^\[([^\]]+)\]: ", text, re.M))
    shown = set(re.findall(r"\[((?:docs|bench|rendezvous)/[^\]]+)\](?!:)", text))
    assert shown == named
