"""OpenSSL for the wheels: its source, checked, built as static libraries for an old C library.

Run by wheels.py, and by cibuildwheel before it builds (`python release/openssl.py FOLDER`). It is
built once a processor, with what TLS 1.3 needs and little else, and kept for later runs. Debian's
source package has the tarball as OpenSSL's makers signed it; where there is no apt, it comes from
them. Its digest is pinned: what is linked into a wheel changes by a change of this file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import chroots

# A series with long support: 3.5 until April 2030.
VERSION = "3.5.7"
SHA256 = "a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8"
SERIES = VERSION.rpartition(".")[0]
SUITE = "trixie"  # the Debian that has it
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
UPSTREAM = "https://github.com/openssl/openssl/releases/download/openssl-{0}/openssl-{0}.tar.gz"
CACHE = Path(os.environ.get("RDZV_OPENSSL_CACHE", Path.home() / ".cache" / "rendezvous-openssl"))
HERE = Path(__file__).resolve().parent
GLIBC = "2.17"
EPOCH = "315532800"

# Of what OpenSSL can do, this is left out. What stays: TLS 1.2 (to say that a peer speaks it) and
# 1.3, X25519 and the NIST curves, RSA, AES-GCM and ChaCha20, certificates and keys in PEM.
WITHOUT = """
    afalgeng apps argon2 aria async atexit autoload-config bf blake2 camellia cast cmp cms comp ct
    default-thread-pool deprecated des dgram dh docs dsa dso dtls ec2m engine filenames gost http
    idea ktls legacy makedepend md4 mdc2 ml-dsa ml-kem module multiblock nextprotoneg ocb ocsp
    padlockeng quic rc2 rc4 rfc3779 rmd160 scrypt seed shared siphash siv slh-dsa sm2 sm3 sm4 sock
    srp srtp ssl-trace ssl3 tests thread-pool tls-deprecated-ec tls1 tls1_1 ts ui-console whirlpool
"""
# What is written differently, by file. Each of a connection's two record layers has room for so
# many records that hardware encrypts side by side; there is none here, and 9 KB a connection are
# saved.
CHANGES = {
    "include/openssl/ssl.h.in": ("#define SSL_MAX_PIPELINES 32\n", "#define SSL_MAX_PIPELINES 1\n"),
}
# Hidden, so that no other OpenSSL of the process is taken for this one, nor this one for it.
FLAGS = "-O2 -g0 -fvisibility=hidden -ffunction-sections -fdata-sections"
# Where a client finds the system's certificates (credentials.cc knows other systems' places).
FOLDER_OF_CERTIFICATES = "/etc/ssl"


def source(*, any_of_series: bool = False) -> tuple[Path, str]:
    """The tarball and its version, from the cache, Debian, or OpenSSL's makers.

    `any_of_series`: a newer one that Debian has signed will do, where the pinned one is gone.
    """
    kept = CACHE / f"openssl-{VERSION}.tar.gz"
    if kept.exists() and is_pinned(kept):
        return kept, VERSION
    CACHE.mkdir(parents=True, exist_ok=True)
    said = []
    for fetch in (fetch_from_debian, fetch_from_makers):
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            try:
                found = fetch(VERSION, Path(folder))
            except (OSError, subprocess.CalledProcessError, LookupError) as error:
                said.append(f"{fetch.__name__}: {error}")
                continue
            if not is_pinned(found):
                raise SystemExit(f"{found.name} is not the OpenSSL {VERSION} that is wanted")
            return Path(shutil.move(found, kept)), VERSION
    if any_of_series:
        return newest_of_debian(said)
    reasons = "\n".join(said)
    raise SystemExit(f"OpenSSL {VERSION} is not to be had; put it at {kept}\n{reasons}")


def is_pinned(tarball: Path) -> bool:
    return hashlib.sha256(tarball.read_bytes()).hexdigest() == SHA256


def fetch_from_makers(version: str, folder: Path) -> Path:
    found = folder / "openssl.tar.gz"
    with urllib.request.urlopen(UPSTREAM.format(version), timeout=60) as answer:
        found.write_bytes(answer.read())
    return found


def fetch_from_debian(version: str, folder: Path) -> Path:
    """By apt, which checks Debian's signature."""
    for package in debian_versions(folder):
        if package.partition("-")[0] == version:
            return download(package, folder)
    raise LookupError(f"Debian's {SUITE} has no OpenSSL {version}")


def newest_of_debian(said: list[str]) -> tuple[Path, str]:
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        for package in reversed(debian_versions(folder)):
            version = package.partition("-")[0]
            if not version.startswith(f"{SERIES}."):
                continue
            try:
                found = download(package, folder)
            except (subprocess.CalledProcessError, LookupError) as error:
                said.append(f"{package}: {error}")
                continue
            print(f"OpenSSL {VERSION} is gone: {version} instead, not for a release", flush=True)
            kept = CACHE / f"openssl-{version}-of-debian.tar.gz"
            return Path(shutil.move(found, kept)), version
    reasons = "\n".join(said)
    raise SystemExit(f"no OpenSSL {SERIES} is to be had:\n{reasons}")


def apt(folder: Path, tool: str, *words: str) -> str:
    """With sources and lists of its own: this system's need not be Debian's, nor have sources."""
    etc = folder / "etc"
    if not etc.exists():
        if shutil.which("apt-get") is None or not KEYRING.exists():
            raise LookupError("no apt with Debian's keys is here")
        for each in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "empty"):
            (folder / each).mkdir(parents=True)
        lines = [f"deb-src [signed-by={KEYRING}] {chroots.MIRROR} {SUITE} main\n"]
        if chroots.MIRROR.endswith("/debian"):
            mirror = f"{chroots.MIRROR}-security"
            lines.append(f"deb-src [signed-by={KEYRING}] {mirror} {SUITE}-security main\n")
        (etc / "sources.list").write_text("".join(lines))
        apt(folder, "apt-get", "--quiet", "update")
    places = {
        "Dir::Etc": etc,
        "Dir::Etc::sourcelist": etc / "sources.list",
        "Dir::Etc::sourceparts": folder / "empty",
        "Dir::State": folder / "state",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
    done = subprocess.run(
        [tool, *options, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LookupError(f"{tool} {' '.join(words)}: {done.stderr.strip()[-300:]}")
    return done.stdout


def debian_versions(folder: Path) -> list[str]:
    """Versions of Debian's source package, the newest last."""
    shown = apt(folder, "apt-cache", "showsrc", "--only-source", "openssl")
    found = set(re.findall(r"^Version: (\S+)$", shown, re.MULTILINE))
    return sorted(found, key=lambda each: [int(part) for part in re.findall(r"\d+", each)])


def download(package: str, folder: Path) -> Path:
    words = ("source", "--download-only", "--only-source", f"openssl={package}")
    try:
        apt(folder, "apt-get", *words)
    except LookupError:
        # One of its parts is not there; the tarball may be, and then is what its list says.
        if not list(folder.glob("openssl_*.orig.tar.gz")):
            raise
    (found,) = folder.glob(f"openssl_{package.partition('-')[0]}.orig.tar.gz")
    return found


def build(processor: str, environment: dict[str, str], *, any_of_series: bool = False) -> Path:
    """A folder with include/, lib/, LICENSE.txt and openssl.cdx.json, for this processor.

    That of an earlier run, if nothing has changed. `environment` is the compiler's: ZIG,
    ZIG_TARGET, and PATH with make and perl.
    """
    tarball, version = source(any_of_series=any_of_series)
    compiler = (importlib.metadata.version("ziglang"), environment["ZIG_TARGET"], FLAGS)
    makers = (version, tarball.name, processor, compiler, WITHOUT, CHANGES)
    digest = hashlib.sha256(repr(makers).encode()).hexdigest()
    root = CACHE / f"{version}-{processor}-{digest[:12]}"
    if (root / "openssl.cdx.json").exists():
        return root
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="openssl-") as name:
        folder = Path(name)
        with tarfile.open(tarball) as archive:
            archive.extractall(folder, members=needed(archive))
        change(folder / f"openssl-{version}")
        # Neither the compiler's folder nor this one may be in what is made.
        names = {"CC": "zig-cc", "AR": "zig-ar", "RANLIB": "zig-ranlib", "CFLAGS": FLAGS}
        words = ["perl", f"../openssl-{version}/Configure", f"linux-{processor}"]
        words += [f"no-{each}" for each in WITHOUT.split()]
        words += [f"{each}={value}" for each, value in names.items()]
        words += ["--prefix=/usr", "--libdir=lib", f"--openssldir={FOLDER_OF_CERTIFICATES}"]
        made = folder / "build"
        made.mkdir()
        path = f"{HERE}{os.pathsep}{environment['PATH']}"
        setting = environment | {"PATH": path, "SOURCE_DATE_EPOCH": EPOCH}
        run(words, made, setting)
        run(["make", f"-j{len(os.sched_getaffinity(0))}", "build_libs"], made, setting)
        keep(folder, version, root)
    print(f"OpenSSL {version} for {processor}: {time.monotonic() - begun_s:.0f} s", flush=True)
    return root


def needed(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Without what is tests and pages for people: two thirds of it. Configure reads build.info."""
    left_out = re.compile(r"[^/]+/(doc|demos|fuzz|test)/.*(?<!/build\.info)$")
    return [each for each in archive.getmembers() if not left_out.match(each.name)]


def change(sources: Path) -> None:
    for name, (before, after) in CHANGES.items():
        text = (sources / name).read_text()
        if text.count(before) != 1:
            raise SystemExit(f"{name} of this OpenSSL is not what CHANGES expects")
        (sources / name).write_text(text.replace(before, after))


def run(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words[:3])} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def keep(folder: Path, version: str, root: Path) -> None:
    """What is needed of it later, at once or not at all."""
    sources, made = folder / f"openssl-{version}", folder / "build"
    new = Path(tempfile.mkdtemp(dir=CACHE))
    (new / "lib").mkdir()
    for library in ("libssl.a", "libcrypto.a"):
        shutil.copy(made / library, new / "lib")
    for headers in (sources / "include" / "openssl", made / "include" / "openssl"):
        wanted = [each for each in headers.iterdir() if each.suffix == ".h"]
        (new / "include" / "openssl").mkdir(parents=True, exist_ok=True)
        for header in wanted:
            shutil.copy(header, new / "include" / "openssl")
    shutil.copy(sources / "LICENSE.txt", new)
    (new / "openssl.cdx.json").write_text(json.dumps(parts_list(version), indent=1))
    shutil.rmtree(root, ignore_errors=True)
    new.chmod(0o755)
    new.rename(root)


def parts_list(version: str) -> dict[str, object]:
    """For scanners of images, in CycloneDX: what is compiled in, no file name tells them."""
    component = {
        "type": "library",
        "name": "openssl",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": f"pkg:generic/openssl@{version}",
        "cpe": f"cpe:2.3:a:openssl:openssl:{version}:*:*:*:*:*:*:*",
    }
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [component]}


def main() -> None:
    """For cibuildwheel: builds for this machine's processor, and puts it into a folder."""
    parser = argparse.ArgumentParser(description="Build the OpenSSL of the wheels into a folder.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    processor = os.uname().machine
    target = f"{processor}-linux-gnu.{GLIBC}"
    built = build(processor, os.environ | {"ZIG_TARGET": target})
    shutil.copytree(built, folder, dirs_exist_ok=True)
    print(f"{folder} has OpenSSL", file=sys.stderr)


if __name__ == "__main__":
    main()
