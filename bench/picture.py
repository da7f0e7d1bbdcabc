"""Draws README's picture: how long N nodes need to meet, ours beside torch elastic's.

    python bench/picture.py [FOLDER]

The figures are those of the handlers' table in RESULTS.md, and nothing else; run_all.py draws it
again after it has written them. Three files: for a light and for a dark page, and one for the site,
where it stands in the page and follows it.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "RESULTS.md"
FILES = {
    "light": Path("bench/plots/meeting-light.svg"),
    "dark": Path("bench/plots/meeting-dark.svg"),
    "page": Path("docs/pictures/meeting.svg"),
}
_QUESTION = "## How long do N handlers need to form a round"
_OURS, _TORCH = "ours, server", "torch"

_WIDTH, _HEIGHT = 660, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 180, 50, 66
_LOW_S, _HIGH_S = 0.01, 80.0
_MARKS = ((0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s"))

_LIGHT = "--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--ours:#0b6bcb;--torch:#d1451b;--page:#ffffff"
_DARK = "--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--ours:#58a6ff;--torch:#ff7b54;--page:#0d1117"


class Point(NamedTuple):
    """How long so many nodes took."""

    nodes: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """What RESULTS.md says.

    Attributes:
        ended: with how many nodes torch's did not meet, and within how many seconds.
        machine: where it was measured, for the line below.
    """

    ours: list[Point]
    torch: list[Point]
    ended: tuple[int, float] | None
    machine: str


def read(text: str) -> Figures:
    """From RESULTS.md."""
    part = text.partition(_QUESTION)[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0]]
    points: dict[str, list[Point]] = {_OURS: [], _TORCH: []}
    for row in lines[2:]:
        nodes = int(re.sub(r"\D", "", row[0]))
        for name, found in points.items():
            cell = row[head.index(name)].split()
            if cell[0] != "-":
                found.append(Point(nodes, float(cell[0].replace(",", ""))))
    ended = re.search(
        r"^torch, ([\d,]+): not measured, it did not come together within (\d+) s", part, re.M
    )
    cores = re.search(r"^\* (.*?, \d+ cores)", text, re.M)
    torch = re.search(r"torch (\d+\.\d+)", text)
    if not (points[_OURS] and points[_TORCH] and cores and torch):
        raise ValueError("RESULTS.md lacks handlers beside torch's, or the machine")
    return Figures(
        points[_OURS],
        points[_TORCH],
        (int(ended[1].replace(",", "")), float(ended[2])) if ended else None,
        f"{cores[1]}, torch {torch[1]}",
    )


def draw(figures: Figures, kind: str) -> str:
    """The SVG for a `light` or a `dark` page, or for the `page` of the site."""
    first = figures.ours[0].nodes
    last = figures.ours[-1].nodes

    def x(nodes: float) -> float:
        part = math.log(nodes / first) / math.log(last / first)
        return round(_LEFT + part * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(seconds: float) -> float:
        part = math.log(seconds / _LOW_S) / math.log(_HIGH_S / _LOW_S)
        return round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM), 1)

    def text(at: tuple[float, float], words: str, kind: str = "", anchor: str = "start") -> str:
        return (
            f'<text class="{kind}" x="{at[0]:g}" y="{at[1]:g}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def line(points: list[tuple[float, float]], kind: str) -> str:
        places = " ".join(f"{left:g},{top:g}" for left, top in points)
        return f'<polyline class="{kind}" points="{places}"/>'

    def series(points: list[Point], kind: str) -> list[str]:
        places = [(x(each.nodes), y(each.seconds)) for each in points]
        dots = [f'<circle class="{kind}" cx="{a:g}" cy="{b:g}" r="4"/>' for a, b in places]
        return [line(places, kind), *dots]

    floor, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [text((_LEFT, 24), "Time until all nodes have met", "title")]
    for seconds, words in _MARKS:
        parts.append(line([(_LEFT, y(seconds)), (right, y(seconds))], "grid"))
        parts.append(text((_LEFT - 8, y(seconds) + 4), words, "soft", "end"))
    for nodes in (each.nodes for each in figures.ours):
        parts.append(text((x(nodes), floor + 20), f"{nodes:,}", "soft", "middle"))
    parts.append(text(((_LEFT + right) / 2, floor + 36), "nodes", "soft", "middle"))
    if figures.ended:
        nodes, limit = figures.ended
        over = (x(nodes), y(limit))
        before = figures.torch[-1]
        parts.append(line([(_LEFT, over[1]), (right, over[1])], "limit"))
        parts.append(text((_LEFT - 8, over[1] + 4), f"{limit:g} s", "soft", "end"))
        parts.append(line([(x(before.nodes), y(before.seconds)), over], "torch gone"))
        for turn in (1, -1):
            ends = [(over[0] - 6, over[1] - 6 * turn), (over[0] + 6, over[1] + 6 * turn)]
            parts.append(line(ends, "torch"))
        parts.append(text((over[0] + 14, over[1] - 6), "torch elastic", "torch"))
        words = f"{nodes:,} nodes: not met after {limit:g} s"
        parts.append(text((over[0] + 14, over[1] + 16), words, "torch small"))
    parts += series(figures.torch, "torch") + series(figures.ours, "ours")
    end = figures.ours[-1]
    parts.append(text((right + 12, y(end.seconds) - 3), "rendezvous", "ours"))
    words = f"{end.nodes:,} nodes: {end.seconds:.2g} s"
    parts.append(text((right + 12, y(end.seconds) + 14), words, "ours small"))
    note = f"All nodes on one machine ({figures.machine}); both axes are logarithmic"
    parts.append(text((10, _HEIGHT - 8), note, "soft small"))
    return _svg(parts, kind, figures)


def _svg(parts: list[str], kind: str, figures: Figures) -> str:
    if kind == "page":
        colours = [
            f".meeting{{{_LIGHT}}}",
            f"@media (prefers-color-scheme:dark){{.meeting{{{_DARK}}}}}",
            f"body[data-theme=light] .meeting{{{_LIGHT}}}",
            f"body[data-theme=dark] .meeting{{{_DARK}}}",
        ]
        ground = ""
    else:
        colours = [f".meeting{{{_LIGHT if kind == 'light' else _DARK}}}"]
        ground = f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    font = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
    style = [
        *colours,
        f".meeting text{{font:14px {font};fill:var(--ink)}}",
        ".meeting text.title{font-size:18px;font-weight:600}",
        ".meeting text.soft{fill:var(--soft)}.meeting text.small{font-size:13px}",
        ".meeting text.ours{fill:var(--ours);font-weight:600}",
        ".meeting text.torch{fill:var(--torch);font-weight:600}",
        ".meeting polyline{fill:none;stroke-width:2.5}.meeting .ground{fill:var(--page)}",
        ".meeting polyline.grid,.meeting polyline.limit{stroke:var(--line);stroke-width:1}",
        ".meeting polyline.limit{stroke-dasharray:5 4}",
        ".meeting polyline.ours{stroke:var(--ours)}.meeting circle.ours{fill:var(--ours)}",
        ".meeting polyline.torch{stroke:var(--torch)}.meeting circle.torch{fill:var(--torch)}",
        ".meeting polyline.gone{stroke-dasharray:3 5}",
    ]
    end = figures.ours[-1]
    about = f"{end.nodes:,} nodes meet in {end.seconds:.2g} s with rendezvous."
    if figures.ended:
        about += f" With torch elastic, {figures.ended[0]:,} nodes have not met after "
        about += f"{figures.ended[1]:g} s."
    return "\n".join(
        [
            f'<svg class="meeting" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {_WIDTH} {_HEIGHT}">',
            f"<title>{about}</title>",
            f"<style>{''.join(style)}</style>",
            ground,
            *parts,
            "</svg>\n",
        ]
    ).replace("\n\n", "\n")


def draw_all(folder: Path = ROOT) -> None:
    """Its three files; those of the repository, or in another folder."""
    figures = read(RESULTS.read_text(encoding="utf-8"))
    for kind, file in FILES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(draw(figures, kind), encoding="utf-8")


if __name__ == "__main__":
    draw_all(*map(Path, sys.argv[1:]))
