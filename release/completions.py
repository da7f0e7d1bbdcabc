"""Writes what shells complete for `rendezvous`, with shtab, into rendezvous/cli/completions.

Run after a change of the command's arguments, with the package installed:
`python release/completions.py`. With --check, only say whether the files are those.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "rendezvous" / "cli" / "completions"
SHELLS = ("bash", "zsh", "fish")


def completion(shell: str) -> str:
    """The same on every machine and from every environment."""
    import shtab

    for name in [name for name in os.environ if name.startswith("RENDEZVOUS_")]:
        del os.environ[name]
    from rendezvous.cli.main import build_parser

    text: str = shtab.complete(build_parser(), shell=shell)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"


def main() -> int:
    stale = []
    for shell in SHELLS:
        path, text = FOLDER / f"rendezvous.{shell}", completion(shell)
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print(f"stale: {', '.join(stale)}; run: python release/completions.py")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
