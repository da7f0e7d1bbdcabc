"""Names of hosts as people read them: in natural order, folded into ranges, and their gaps. Pure.

What `fold_hosts` makes, host_list.py expands again.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

__all__ = ["count_names", "fold_hosts", "gaps_in", "join_names", "natural_key"]

# Of a name: its texts, and between them its numbers as they are written.
_Parts: TypeAlias = tuple[str, ...]
# A name but for one of its numbers: which part that is, and all the others.
_Series: TypeAlias = tuple[int, _Parts]

# Longer ones are identifiers, and no numbers that somebody counts.
_DIGITS_MAX = 9
_ENTRIES_MAX = 48


def natural_key(name: str) -> tuple[object, ...]:
    """Orders host2 before host10."""
    return tuple(
        (len(part.lstrip("0")), part.lstrip("0"), part) if at % 2 else part
        for at, part in enumerate(_parts(name))
    )


def fold_hosts(names: Iterable[str]) -> list[str]:
    """`gpu-node-[000-016,018-039]`, `login`: each name once, in natural order."""
    folded = []
    for series, numbers in _series(names).items():
        at, parts = series
        if at < 0:
            folded.append(parts[0])
            continue
        ranges = _ranges(numbers)
        alone = len(ranges) == 1 and "-" not in ranges[0]
        inner = ranges[0] if alone else f"[{','.join(ranges)}]"
        folded.append("".join((*parts[:at], inner, *parts[at + 1 :])))
    return sorted(folded, key=natural_key)


def join_names(names: Iterable[str]) -> str:
    """The same as one text. Of very many that do not fold, the last ones are counted."""
    folded = fold_hosts(names)
    text = ", ".join(folded[:_ENTRIES_MAX])
    more = len(folded) - _ENTRIES_MAX
    return f"{text} and {more} more" if more > 0 else text


def count_names(names: Iterable[str]) -> str:
    """As `join_names`, for names that may be there several times: `node[1-4] (8 nodes each)`."""
    by_count: dict[int, list[str]] = {}
    for name, count in Counter(names).items():
        by_count.setdefault(count, []).append(name)
    return ", ".join(
        join_names(some) + _count_text(count, len(some)) for count, some in sorted(by_count.items())
    )


def _count_text(count: int, hosts: int) -> str:
    if count == 1:
        return ""
    return f" ({count} nodes{' each' if hosts > 1 else ''})"


def gaps_in(names: Iterable[str]) -> list[str]:
    """The names between numbered ones that are not there, in natural order.

    Of series with fewer names than gaps nothing is said: those numbers do not count nodes.
    """
    found = []
    for (at, parts), numbers in _series(names).items():
        if at < 0:
            continue
        have = {int(number) for number in numbers}
        low, high = min(have), max(have)
        if high - low + 1 > 2 * len(have):
            continue
        width = len(min(numbers, key=int))
        for number in sorted(set(range(low, high + 1)) - have):
            found.append("".join((*parts[:at], f"{number:0{width}}", *parts[at + 1 :])))
    return sorted(found, key=natural_key)


def _parts(name: str) -> _Parts:
    return tuple(re.split(r"([0-9]+)", name))


def _series(names: Iterable[str]) -> dict[_Series, list[str]]:
    """The numbers of each series; of a name without one, the name under -1."""
    names = sorted(set(names), key=natural_key)
    choices: dict[str, list[tuple[_Series, str]]] = {}
    sizes: Counter[_Series] = Counter()
    for name in names:
        parts = _parts(name)
        choices[name] = [
            ((at, (*parts[:at], "", *parts[at + 1 :])), parts[at])
            for at in range(len(parts) - 2, 0, -2)
            if len(parts[at]) <= _DIGITS_MAX
        ]
        sizes.update(series for series, _ in choices[name])
    found: defaultdict[_Series, list[str]] = defaultdict(list)
    for name in names:
        # The last number that makes the longest series: of racks, too, and of full names.
        best = max(choices[name], key=lambda choice: sizes[choice[0]], default=None)
        if best is None:
            found[-1, (name,)].append("")
        else:
            found[best[0]].append(best[1])
    return dict(found)


def _ranges(numbers: Sequence[str]) -> list[str]:
    """`000-016`, `018`: of one range, each number is as wide as the first one is written."""
    ordered = sorted(numbers, key=lambda number: (int(number), len(number)))
    ranges: list[list[str]] = []
    for number in ordered:
        if ranges:
            first, last = ranges[-1][0], ranges[-1][-1]
            if number == f"{int(last) + 1:0{len(first)}}":
                ranges[-1].append(number)
                continue
        ranges.append([number])
    return [each[0] if len(each) == 1 else f"{each[0]}-{each[-1]}" for each in ranges]
