"""Kills writers of a FileStore at random moments, over and over, and compares what is left.

Run as a program: file_store_crash.py FOLDER RUNS SEED. Prints one line when all is well, and raises
otherwise. It forks, which a process with pytest's threads should not.

Each writer does a fixed sequence of writes, all of them different, and acknowledges each on a pipe.
After its death the file must hold its state after the last acknowledged write, or after the one
behind that: nothing else is neither lost nor torn.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

from rendezvous import FileStore

WRITERS = 3
JOB = "crash"

State = dict[str, bytes]


def payload(n: int) -> bytes:
    """A value that shows when a part of it is another's; up to several pages long."""
    size = (n * 7919) % (150_000 if n % 5 == 0 else 300)
    return b"%d:" % n + bytes([n % 251]) * size + b":%d" % n


def write(store: FileStore, name: str, n: int, state: State) -> None:
    """The writer's nth write."""
    key, number = f"{name}/value", b"%d" % n
    turn = n % 7
    if turn == 0:
        store.set(key, payload(n))
    elif turn == 1:
        store.add(f"{name}/counter", n)
    elif turn == 2:
        store.multi_set([f"{name}/left", f"{name}/right"], [number, number])
    elif turn == 3 and n % 3 == 0:
        store.set(f"{name}/log", number)
    elif turn == 3:
        store.append(f"{name}/log", b"," + number)
    elif turn == 4:
        store.compare_set(f"{name}/token", state.get(f"{name}/token", b""), number)
    elif turn == 5:
        store.set(f"{name}/brief", number)
    else:
        store.delete_key(f"{name}/brief")


def expect(name: str, n: int, state: State) -> None:
    """What the nth write makes of the writer's keys."""
    number = b"%d" % n
    turn = n % 7
    if turn == 0:
        state[f"{name}/value"] = payload(n)
    elif turn == 1:
        state[f"{name}/counter"] = b"%d" % (int(state.get(f"{name}/counter", b"0")) + n)
    elif turn == 2:
        state[f"{name}/left"] = state[f"{name}/right"] = number
    elif turn == 3 and n % 3 == 0:
        state[f"{name}/log"] = number
    elif turn == 3:
        state[f"{name}/log"] = state.get(f"{name}/log", b"") + b"," + number
    elif turn == 4:
        state[f"{name}/token"] = number
    elif turn == 5:
        state[f"{name}/brief"] = number
    else:
        state.pop(f"{name}/brief", None)


class Writer:
    """The process of one name; killed and started again many times."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.done = 0  # writes that the file is known to hold
        self.state: State = {}

    def start(self) -> None:
        self.acks, acks = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.run(acks)
            finally:
                os._exit(1)
        os.close(acks)

    def run(self, acks: int) -> None:
        store = FileStore(self.path, job_id=JOB)
        n = self.done
        while True:
            n += 1
            write(store, self.name, n, self.state)
            expect(self.name, n, self.state)
            os.write(acks, struct.pack("q", n))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def compare(self, store: FileStore) -> int:
        """Check what is left. Returns how many writes were acknowledged since the start."""
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == -signal.SIGKILL
        acknowledged = b""
        while chunk := os.read(self.acks, 65536):
            acknowledged += chunk
        os.close(self.acks)
        last = struct.unpack("q", acknowledged[-8:])[0] if acknowledged else self.done
        count = int(last - self.done)
        for n in range(self.done + 1, last + 1):
            expect(self.name, n, self.state)
        self.done = last
        found = read(store, self.name + "/")
        if found != self.state:
            self.done += 1
            expect(self.name, self.done, self.state)
        assert found == self.state, (
            f"{self.name} had {last} writes acknowledged; found {shown(found)}, "
            f"expected {shown(self.state)} or that before its last write"
        )
        return count


def read(store: FileStore, prefix: str) -> State:
    return {key: store.get(key, 0) for key in store.list_keys(prefix)}


def shown(state: State) -> dict[str, bytes]:
    return {key: value[-40:] for key, value in state.items()}


def main(folder: Path, runs: int, seed: int) -> None:
    chance = random.Random(seed)
    path = folder / "store"
    writers = [Writer(path, f"w{i}") for i in range(WRITERS)]
    acknowledged = 0
    follower: FileStore | None = None  # sees every state, while most others open the last one
    for run in range(runs):
        if chance.random() < 0.1:
            follower = None
        for writer in writers:
            writer.start()
        for writer in chance.sample(writers, WRITERS):
            time.sleep(chance.expovariate(1 / 0.006))
            if follower is not None:
                follower.num_keys()
            writer.kill()
        late = FileStore(path, job_id=JOB)
        acknowledged += sum(writer.compare(late) for writer in writers)
        assert follower is None or read(follower, "") == read(late, ""), f"run {run}"
        follower = follower or late
    print(f"{runs * WRITERS} writers killed, {acknowledged} writes acknowledged, none lost")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
