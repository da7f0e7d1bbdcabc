"""The parts of the project know only those below them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Who may include whom. A folder that is not listed fails the test.
CPP_MAY_INCLUDE = {
    "base": set[str](),
    "net": {"base"},
    "wire": {"base"},
    "store": {"base", "wire"},
    "group": {"base", "wire"},
    "tls": {"base"},
    "server": {"base", "net", "wire", "store", "group", "tls"},
    "client": {"base", "net", "wire", "store", "server", "tls"},
    "tools": {"base", "net", "wire", "tls"},
    "bindings": {"base", "net", "wire", "store", "group", "tls", "server", "client"},
    "aio": {"base", "net", "wire", "store", "client", "tls"},
}

INCLUDE = re.compile(r'^#include "([a-z]+)/', re.MULTILINE)


def cpp_files() -> list[Path]:
    return sorted((ROOT / "csrc").glob("*/*.[hc]*"))


def python_files() -> list[Path]:
    return sorted((ROOT / "rendezvous").rglob("*.py"))


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_cpp_folders_include_only_what_is_below(path: Path) -> None:
    """A C++ folder includes itself and what CPP_MAY_INCLUDE grants it."""
    folder = path.parent.name
    included = set(INCLUDE.findall(path.read_text())) - {folder}
    assert included <= CPP_MAY_INCLUDE[folder]


@pytest.mark.parametrize("path", cpp_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_the_bindings_know_python(path: Path) -> None:
    """Python's and pybind11's headers are included in csrc/bindings and nowhere else."""
    knows_python = re.search(r"#include <(pybind11/|Python\.h)", path.read_text()) is not None
    assert not knows_python or path.parent.name == "bindings"


@pytest.mark.parametrize("folder", ["store", "client"])
def test_what_blocks_counts_its_locks(folder: str) -> None:
    """Only a Mutex (base/mutex.h) shows that a thread holds it while signal handlers run."""
    uncounted = re.compile(r"std::(recursive_|timed_|shared_)?mutex\b|MonotonicCondition")
    offenders = [
        path.name
        for path in sorted((ROOT / "csrc" / folder).glob("*.[hc]*"))
        # Held for a few instructions, over a fork.
        if uncounted.search(path.read_text()) and path.stem != "file_fd"
    ]
    assert offenders == []


def test_nothing_waits_by_the_wall_clock() -> None:
    """The standard's condition variable does, compiled against a C library older than 2.30."""
    by_the_wall_clock = re.compile(
        r"std::(condition_variable|timed_mutex|shared_timed_mutex|(counting|binary)_semaphore)"
        r"|std::(future|promise|async)|system_clock|\bsem_timedwait|mutex_timedlock"
    )
    # One says why; the other is the clock that hosts which share a file have in common.
    allowed = {"monotonic_condition.h", "file_clock.h"}
    assert {
        path.name
        for path in (ROOT / "csrc").rglob("*.[hc]*")
        if by_the_wall_clock.search(path.read_text())
    } <= allowed


@pytest.mark.parametrize("module", python_files(), ids=lambda path: path.name)
def test_locks_let_a_signal_handler_in(module: Path) -> None:
    """A handler runs on the thread that it interrupts, which may hold any lock of ours."""
    # Of a waiter's lock, nobody who has it waits for anything.
    text = module.read_text().replace("waiter = threading.Lock()", "")
    assert not re.search(r"threading\.(Lock\(|Semaphore|Condition\((?!self\._lock\)))", text)


# What blocks: it waits until a time, and says whose barrier it is by a random number.
STORES = ("hash_store", "local_store", "file_")


@pytest.mark.parametrize("folder", ["wire", "store", "group"])
def test_the_core_has_no_clock_socket_or_randomness(folder: str) -> None:
    """Table, Group and the decoders are deterministic: only stores, which block, read a clock."""
    forbidden = re.compile(r"\bnow\(\)|<sys/socket\.h>|<random>|base/random\.h|<thread>")
    offenders = [
        path.name
        for path in sorted((ROOT / "csrc" / folder).glob("*.[hc]*"))
        if forbidden.search(path.read_text()) and not path.name.startswith(STORES)
    ]
    assert offenders == []


def test_tls_is_a_transform_without_io() -> None:
    """It is handed bytes: it opens no socket, reads no file and no clock; OpenSSL stays in it."""
    forbidden = re.compile(
        r"\bnow\(\)|<sys/|<unistd\.h>|<fstream>|<thread>|base/fd\.h|BIO_new_(file|fp|socket)"
        r"|SSL_set_fd|SSL_CTX_(use_\w+_file|load_verify)"
    )
    tls = (ROOT / "csrc" / "tls").glob("*.[hc]*")
    assert [path.name for path in tls if forbidden.search(path.read_text())] == []
    openssl = re.compile(r"#include (<openssl/|\"tls/(openssl|parts|key)\.h)")
    assert {path.parent.name for path in cpp_files() if openssl.search(path.read_text())} == {"tls"}


# What owns the server's descriptors, thread and clock; the rest of csrc/server is its core.
SERVER_SHELL = {"server", "socket_connection", "secure_line", "entrance"}


def test_the_core_of_the_server_has_no_clock_socket_or_randomness() -> None:
    """ServerCore is handed bytes, times and seeds, so that a test or a simulator can drive it."""
    forbidden = re.compile(
        r"\bnow\(\)|\"net/|<sys/|<random>|base/random\.h|<thread>"
        r"|\"server/(server|socket_connection|entrance)\.h"
    )
    offenders = [
        path.name
        for path in sorted((ROOT / "csrc" / "server").glob("*.[hc]*"))
        if path.stem not in SERVER_SHELL and forbidden.search(path.read_text())
    ]
    assert offenders == []


def test_the_core_of_the_client_has_no_clock_socket_lock_or_randomness() -> None:
    """ClientCore and its session are handed bytes and times, by whoever waits, however."""
    forbidden = re.compile(
        r"\bnow\(\)|\"net/|<sys/|<random>|base/random\.h|<thread>|mutex|<atomic>|base/interrupt"
        r"|<condition_variable>|<future>|<unistd\.h>|\"(store|server)/"
    )
    client = ROOT / "csrc" / "client"
    core = [client / name for name in ("core.h", "core.cc", "session.h", "patience.h")]
    assert [path.name for path in core if forbidden.search(path.read_text())] == []
    included = {
        name for path in core for name in re.findall(r'"client/(\w+\.h)"', path.read_text())
    }
    assert included <= {"core.h", "session.h", "patience.h"}


# What a request is and means, for threads and event loops alike.
PURE_CLIENT = {
    "call_rules",
    "core",
    "line_rules",
    "native_operations",
    "native_request",
    "patience",
    "run_operations",
    "session",
    "signs_of_life",
}


def test_what_asyncio_shares_with_threads_waits_for_nothing() -> None:
    """It opens no socket, holds no lock, starts no thread; and knows none of those who do."""
    forbidden = re.compile(
        r"<sys/|<random>|base/random\.h|<thread>|mutex|<atomic>|base/interrupt"
        r"|<condition_variable>|<future>|<unistd\.h>|<netinet/|<poll\.h>"
        r"|\"(net|server|aio|bindings)/"
    )
    client = ROOT / "csrc" / "client"
    files = [path for path in client.glob("*.[hc]*") if path.stem in PURE_CLIENT]
    assert {path.stem for path in files} == PURE_CLIENT
    assert [path.name for path in files if forbidden.search(path.read_text())] == []
    included = {
        name for path in files for name in re.findall(r'"client/(\w+)\.h"', path.read_text())
    }
    assert included <= PURE_CLIENT


def test_asyncios_connection_is_made_of_what_waits_for_nothing() -> None:
    """Its loop waits; of the sockets it has what sends and receives what is there."""
    aio = ROOT / "csrc" / "aio"
    files = [path for path in aio.iterdir() if path.suffix in (".h", ".cc", ".pyx", ".pxi", ".pxd")]
    text = "".join(path.read_text() for path in files)
    assert set(re.findall(r'"client/(\w+)\.h"', text)) <= PURE_CLIENT
    assert set(re.findall(r'"net/(\w+)\.h"', text)) <= {"socket"}


def nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but those that are there for type checkers."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            yield from nodes_that_run(node)


def test_torch_is_imported_by_two_modules() -> None:
    """And by torchrun's plug-in when it is used only."""
    plug_in = "_torchrun/handler.py"
    importing = {
        str(path.relative_to(ROOT / "rendezvous")): [
            node
            for node in nodes_that_run(ast.parse(path.read_text()))
            if (
                isinstance(node, ast.Import)
                and any(a.name.split(".")[0] == "torch" for a in node.names)
            )
            or (isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "torch")
        ]
        for path in python_files()
    }
    assert {name for name, nodes in importing.items() if nodes} == {"torch.py", plug_in}
    top = ast.parse((ROOT / "rendezvous" / plug_in).read_text()).body
    assert not any(node in importing[plug_in] for node in top)
