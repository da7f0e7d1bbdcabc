"""Lists of hosts in SLURM's short form. Pure."""

import re
from collections.abc import Iterator

__all__ = ["expand_hosts"]

# Longer ones are not numbers that somebody can have meant.
_DIGITS = "[0-9]{1,18}"


def expand_hosts(text: str) -> Iterator[str]:
    """SLURM's lists of hosts, `gpu[01-03,7],login`, one by one, in order. ValueError: no list."""
    depth, begin = 0, 0
    for at, char in enumerate(f"{text},"):
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            if name := text[begin:at].strip():
                yield from _expand(name)
            begin = at + 1
    if depth != 0:
        raise ValueError(f"{text!r}: a bracket is missing")


def _expand(name: str) -> Iterator[str]:
    before, bracket, rest = name.partition("[")
    if not bracket:
        yield name
        return
    numbers, _, after = rest.partition("]")
    for part in numbers.split(","):
        match = re.fullmatch(rf"({_DIGITS})(?:-({_DIGITS}))?", part.strip())
        if match is None:
            raise ValueError(f"{part!r} in {name!r} is neither a number nor a range")
        first, last = match[1], match[2] or match[1]
        for number in range(int(first), int(last) + 1):
            for end in _expand(after):
                # As wide as the first one is written.
                yield f"{before}{number:0{len(first)}}{end}"
