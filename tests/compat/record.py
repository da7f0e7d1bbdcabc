"""Writes down what this version says and keeps: `python tests/compat/record.py`, once a release.

With the released package installed. What is there for another version is never written anew: later
versions have to meet it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compat import files, native, states

import rendezvous


def main() -> int:
    folder = Path(__file__).parent / rendezvous.__version__
    if folder.exists():
        print(f"{folder} is there: what was released stays what it was")
        return 1
    found = {"native.json": native.record(), "states.json": states.record()}
    stored = files.record()
    folder.mkdir()
    for name, value in found.items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n")
    (folder / "store.bin").write_bytes(stored)
    return 0


if __name__ == "__main__":
    sys.exit(main())
