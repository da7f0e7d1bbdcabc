"""Draws time against N, both logarithmic, as SVG. Without matplotlib, nothing is drawn."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Ours stand out; floors are grey.
_COLOURS = {"ours": "#0b6bcb", "floor": "#999999", "torch": "#e4572e", "Redis": "#8a2be2"}


def draw(plot: Mapping[str, Any], path: Path) -> bool:
    """Write one plot; False when there is nothing to draw it with."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"no matplotlib: {path} is not drawn")
        return False
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    # The same data give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "rendezvous"
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    styles = iter(("-", "--", "-.", ":") * 4)
    for name, points in plot["series"].items():
        colour = _COLOURS.get(name.partition(",")[0])
        counts, values = zip(*points, strict=True)
        axes.plot(counts, values, next(styles), marker="o", markersize=3, label=name, color=colour)
    axes.set(title=plot["title"], xlabel="N", ylabel=plot["unit"], xscale="log", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
    return True
