# SPDX-License-Identifier: GPL-2.0-only
"""Figures 3 and 4 as charts: a bar for each way, whiskers over all runs, the model as a mark."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ktcp_testbed.bench.catalogue import CATALOGUE, label
from ktcp_testbed.bench.progress import human_size
from ktcp_testbed.bench.results import Results, Series
from ktcp_testbed.bench.tables import runs

Pick = Literal["first_byte", "total"]
HEADINGS: dict[Pick, str] = {
    "first_byte": "Time to first byte",
    "total": "Download completion time",
}
# Colour-blind people can tell them apart, and so can readers of a grey print.
KTCP, PAPER, RIVAL = "#0072b2", "#999999", "#e69f00"
INK = "#010101"
# Colours that the page sets for light and dark mode.
VARIABLES = {KTCP: "--ktcp", PAPER: "--paper", RIVAL: "--rival", INK: "--ink"}
# The same results give the same file, and text stays text.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "ktcp",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.prop_cycle": cycler("color", [INK]),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
PANEL_INCHES = 4.3
# A phone shows it at about its own size.
PHONE_INCHES = 3.6
SMALL = 8
ROW_INCHES = 0.27


def colour(way: str) -> str:
    """The colour of a way's kind."""
    if way.startswith("ktcp"):
        return KTCP
    return PAPER if CATALOGUE[way].paper or way == "routed" else RIVAL


def draw(results: Results, pick: Pick, directory: Path, name: str) -> list[Path]:
    """Write a figure with a panel for each size, as SVG and PNG; returns the files."""
    sizes = sorted(results.options.sizes.values())
    with mpl.rc_context(STYLE):
        columns = min(2, len(sizes))
        rows = -(-len(sizes) // columns)
        height = rows * (ROW_INCHES * len(results.options.ways) + 0.9)
        figure = Figure(figsize=(columns * PANEL_INCHES + 1, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for each, size in zip(axes, sizes, strict=False):
            panel(each, results, size, pick)
        for each in axes[len(sizes) :]:
            each.set_axis_off()
        legs = ", ".join(f"{leg:g}" for leg in results.options.legs_ms)
        figure.suptitle(f"{HEADINGS[pick]}; round trips {legs} ms, median of {runs(results)}")
        files = [directory / f"{name}.svg", directory / f"{name}.png"]
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=150)
    return files


def inline(results: Results, size: int, pick: Pick) -> str:
    """A panel as an SVG element for a page, its colours being the page's variables."""
    with mpl.rc_context(STYLE):
        height = ROW_INCHES * len(results.options.ways) + 0.8
        figure = Figure(figsize=(PHONE_INCHES, height), layout="constrained")
        panel(figure.subplots(), results, size, pick)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for fixed, variable in VARIABLES.items():
        svg = svg.replace(fixed, f"var({variable})")
    # Identifiers are unique within a figure only, and a page has several.
    prefix = f"{pick}-{size}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)
    title = f"{HEADINGS[pick]}, {human_size(size)}"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def panel(axes: Axes, results: Results, size: int, pick: Pick) -> None:
    """Draw the bars of one size, the first way on top."""
    series = [found for way in results.options.ways if (found := results.series(way, size))]
    places = range(len(series))
    medians = [getattr(each.median, pick) for each in series]
    drawn = axes.barh(
        places,
        medians,
        xerr=whiskers(series, pick),
        color=[colour(each.way) for each in series],
        ecolor=INK,
        error_kw={"linewidth": 0.8, "capsize": 2},
    )
    longest = max(getattr(each.most, pick) for each in series)
    axes.bar_label(drawn, [shown_seconds(value) for value in medians], padding=4, fontsize=SMALL)
    for place, each in zip(places, series, strict=True):
        if each.model is not None:
            expected = getattr(each.model, pick)
            axes.plot([expected] * 2, [place - 0.4, place + 0.4], ":", color=INK, linewidth=1.2)
    axes.set_yticks(places, [label(each.way) for each in series], fontsize=SMALL)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.margins(y=0.02)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.2)
    axes.set_title(f"{human_size(size)}, seconds", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def shown_seconds(value: float) -> str:
    """The label of a bar."""
    return f"{value:.3f}"


def whiskers(series: Sequence[Series], pick: Pick) -> list[list[float]]:
    """The lengths from the median down to the least and up to the most."""
    return [
        [getattr(each.median, pick) - getattr(each.least, pick) for each in series],
        [getattr(each.most, pick) - getattr(each.median, pick) for each in series],
    ]
