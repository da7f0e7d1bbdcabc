"""asyncio's store and its event loop's life: ends with requests in flight, threads, forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.aio import LOOPS, run_on
from support.background import eventually
from support.process import PythonProcess

import rendezvous.aio
from rendezvous import Server, StoreClosedError, StoreConnectionError

# Each is run with -X dev, and is to say nothing but "done".
QUIET = {
    "a task that is left when the loop's run is over": """\
async def hold(there):
    async with rendezvous.aio.connect(url) as store:
        await store.ping()
        there.set()
        await asyncio.gather(*(store.get(f"k{i}") for i in range(100)))
async def main():
    there = asyncio.Event()
    task = asyncio.create_task(hold(there))
    await there.wait()
    await asyncio.sleep(0)
run(main())
""",
    "10,000 cancelled operations": """\
async def main():
    async with rendezvous.aio.connect(url) as store:
        for _ in range(10):
            tasks = [asyncio.create_task(store.wait([f"k{i}"])) for i in range(1000)]
            await store.ping()
            for task in tasks: task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
run(main())
""",
    "100 connections that broke": """\
async def main():
    with FaultProxy(port) as proxy:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{proxy.port}") as store:
            late = [asyncio.create_task(store.get(f"late{i}")) for i in range(10)]
            for _ in range(100):
                proxy.cut()
                await store.check(["k"])
            for task in late: task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
run(main())
""",
    "a call that was never awaited after its store's end": """\
async def main():
    store = await rendezvous.aio.connect(url)
    call = store.get("k")
    await store.close()
    try: await call
    except rendezvous.StoreClosedError: pass
run(main())
""",
    "runs that were followed": """\
async def main():
    runs = [f"job-{i}" for i in range(100)]
    async with rendezvous.aio.follow(f"127.0.0.1:{port}", *runs) as changes:
        for _ in runs: await anext(changes)
        async with rendezvous.aio.join(f"127.0.0.1:{port}", (1, 1), "job-7"):
            assert (await anext(changes)).run_id == "job-7"
    assert asyncio.all_tasks() == {asyncio.current_task()}
run(main())
""",
    "a watch that a break left": """\
async def main():
    async with rendezvous.aio.connect(url) as store:
        await store.set("w/k", "v")
        async for version, value in store.watch("w/k"): break
        async for key, version, value in store.watch_prefix("w/"): break
run(main())
""",
}
RUNS = {
    "asyncio": "run = asyncio.run\n",
    "uvloop": "import uvloop\nrun = uvloop.run\n",
}
BEGIN = """\
import asyncio, sys
import rendezvous, rendezvous.aio
from support.proxy import FaultProxy
port = int(sys.argv[1])
url = f"tcp://127.0.0.1:{port}"
"""
SUPPORT = str(Path(__file__).parents[1])


def run_program(text: str, port: int, *options: str) -> str:
    """What it prints, on both streams."""
    ended = subprocess.run(
        [sys.executable, *options, "-c", text, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": SUPPORT},
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("what", QUIET)
def test_nothing_is_complained_about(server: Server, what: str, loop: str) -> None:
    """Python's development mode shows what is left behind: tasks, coroutines, sockets."""
    text = BEGIN + RUNS[loop] + QUIET[what] + "print('done')\n"
    said = run_program(text, server.port, "-X", "dev")
    # A slow machine makes asyncio's debug mode speak of slow callbacks.
    lines = [line for line in said.splitlines() if not line.startswith("Executing <")]
    assert lines == ["done"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_closed_with_requests_in_flight_ends_them(server: Server, loop: str) -> None:
    """Nobody has closed the store; the server sees its connection go."""
    text = (
        BEGIN
        + RUNS[loop]
        + """\
import gc, os
async def main():
    store = await rendezvous.aio.connect(url)
    for i in range(100): asyncio.ensure_future(store.get(f"k{i}"))
    await store.ping()
loop = uvloop.new_event_loop() if "uvloop" in sys.modules else asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
# A task that is destroyed is told to the loop, which keeps it and others for another pass.
for _ in range(10): gc.collect()
sockets = [name for name in os.listdir("/proc/self/fd")
           if os.path.exists(f"/proc/self/fd/{name}") or True]
links = []
for name in sockets:
    try: links.append(os.readlink(f"/proc/self/fd/{name}"))
    except OSError: pass
assert not any(link.startswith("socket:") for link in links), links
assert not [each for each in gc.get_objects() if type(each).__name__ == "Flight"]
print("done")
"""
    )
    assert run_program(text, server.port).splitlines()[-1] == "done"


def test_two_loops_in_two_threads_do_not_meet(server: Server) -> None:
    """Each has its own store, and the other's is refused."""
    failures: list[BaseException] = []
    stores: list[rendezvous.aio.Store] = []
    both_are_there = threading.Barrier(2)

    async def main(kind: str) -> None:
        async with rendezvous.aio.connect(f"tcp://127.0.0.1:{server.port}", 60) as store:
            stores.append(store)
            await asyncio.to_thread(both_are_there.wait)
            (other,) = [each for each in stores if each is not store]
            with pytest.raises(RuntimeError, match="belongs to another event loop"):
                await other.get("k")

            async def count(number: int) -> None:
                for _ in range(20):
                    await store.add("sum", 1)
                    await store.set(f"{kind}/{number}", os.urandom(10_000))
                    assert len(await store.get(f"{kind}/{number}")) == 10_000

            await asyncio.gather(*(count(i) for i in range(50)))
            await asyncio.to_thread(both_are_there.wait)

    def run(kind: str) -> None:
        try:
            run_on(kind, main(kind))
        except BaseException as error:
            failures.append(error)
            both_are_there.abort()

    threads = [threading.Thread(target=run, args=(kind,)) for kind in (LOOPS[0], LOOPS[-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with rendezvous.TCPStore("127.0.0.1", server.port, timeout=60) as store:
        assert store.add("sum", 0) == 2000


PARENT = """\
import asyncio, os, sys
import rendezvous.aio
async def main():
    store = await rendezvous.aio.connect(f"tcp://127.0.0.1:{sys.argv[1]}", 60)
    waits = [asyncio.ensure_future(store.wait(["never"])) for _ in range(10)]
    await store.ping()
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    await store.set("after", "fork")
    print(child, flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


def descriptors() -> dict[str, str]:
    """What each is, but for the one that lists them."""
    found: dict[str, str] = {}
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[each.name] = str(each.readlink())
    return found


def test_a_dial_that_is_given_up_as_it_ends_leaves_no_socket(server: Server) -> None:
    """The task that would have taken it is cancelled between."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        cancelled: list[asyncio.Task[object]] = []

        def tell(callback: Callable[..., object], *args: object) -> asyncio.Handle:
            def told() -> None:
                callback(*args)
                if not cancelled and args and isinstance(args[0], tuple):
                    # Not yet awake again: what it waited for is there.
                    cancelled.extend(each for each in asyncio.all_tasks() if _is_dial(each))
                    for task in cancelled:
                        task.cancel()

            return soon(told)

        soon = loop.call_soon_threadsafe
        before = descriptors()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "call_soon_threadsafe", tell)
            async with rendezvous.aio.connect(f"tcp://127.0.0.1:{server.port}", 60) as store:
                await store.set("k", "v")  # over another one
        assert len(cancelled) == 1
        # The server's, too, which runs here.
        eventually("sockets closed", lambda: descriptors() == before)

    def _is_dial(task: asyncio.Task[object]) -> bool:
        return getattr(task.get_coro(), "__qualname__", "") == "Line._run"

    asyncio.run(main())


def test_a_thread_that_cannot_be_started_is_an_error_of_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which says what to do."""

    async def main() -> None:
        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        async with rendezvous.aio.connect("hash:") as store:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(StoreConnectionError, match="ulimit -u"):
                    await store.get("k")

    asyncio.run(main())


def test_a_forked_child_does_not_keep_the_connection_open() -> None:
    """The parent is killed, its child lives on; the server has none of the waits left."""
    with (
        Server(limits={"waits_per_connection": 10, "connections": 2}) as server,
        PythonProcess(PARENT, str(server.port)) as parent,
    ):
        child = int(parent.line())
        try:
            parent.kill()
            # Of two connections there is one that watches, and the parent's, if it is left.
            with rendezvous.TCPStore("127.0.0.1", server.port, timeout=60) as store:
                assert store.get("after") == b"fork"
                eventually("the parent's connection is gone", lambda: can_connect(server.port))
        finally:
            os.kill(child, 9)


def can_connect(port: int) -> bool:
    try:
        rendezvous.TCPStore("127.0.0.1", port, timeout=0.5).close()
    except rendezvous.StoreError:
        return False
    return True


def test_a_store_is_not_used_in_a_forked_child(server: Server) -> None:
    """It says so, whatever loop the child makes."""
    text = """\
import asyncio, os, sys
import rendezvous, rendezvous.aio
async def made():
    return await rendezvous.aio.connect(f"tcp://127.0.0.1:{sys.argv[1]}", 60)
loop = asyncio.new_event_loop()
store = loop.run_until_complete(made())
child = os.fork()
if child == 0:
    async def use():
        await store.get("k", 0)
    try:
        asyncio.new_event_loop().run_until_complete(use())
    except rendezvous.StoreClosedError as error:
        assert "forked child" in str(error)
        os._exit(7)
    os._exit(8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
loop.run_until_complete(store.set("k", "v"))
loop.run_until_complete(store.close())
print("done")
"""
    assert run_program(text, server.port).splitlines()[-1] == "done"


def test_rendezvous_does_not_import_asyncio() -> None:
    """Neither it nor the second extension, until rendezvous.aio is asked for."""
    text = """\
import sys
import rendezvous
print([name for name in sys.modules if name.startswith(("asyncio", "rendezvous.aio"))])
"""
    assert run_program(text, 0) == "[]\n"


def test_what_a_process_has_once_is_in_one_extension() -> None:
    """The second one has no log, no signals, no forks and no registries of its own."""
    import rendezvous.aio._native

    library = Path(rendezvous.aio._native.__file__).read_bytes()
    for name in (b"LogQueue", b"ForkHold", b"pthread_atfork", b"set_interrupt_check", b"ProcessFd"):
        assert name not in library, name
    with pytest.raises(StoreClosedError):
        raise rendezvous.aio._native.closed("a store")
