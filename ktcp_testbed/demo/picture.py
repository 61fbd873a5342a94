# SPDX-License-Identifier: GPL-2.0-only
"""The results as a picture: bars from zero, whiskers over all runs, the model as a line."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ktcp_testbed.demo.results import Comparison, Download, Results, Times, Way, human_size

# Colour-blind people can tell them apart, and so can readers of a grey print.
COLOURS = {Way.ROUTED: "#b3b3b3", Way.KTCP: "#0072b2"}
LABELS = {Way.ROUTED: "routed", Way.KTCP: "through KTCP"}
BAR_WIDTH = 0.38

Pick = Callable[[Times | Download], float]


def draw(results: Results, directory: Path, name: str = "demo") -> list[Path]:
    """Write the picture as SVG and PNG into `directory`; returns the files."""
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    panel(left, results, "Time to first byte", lambda times: times.first_byte)
    panel(right, results, "Time to last byte", lambda times: times.total)
    figure.suptitle(title(results))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)

    files = [directory / f"{name}.svg", directory / f"{name}.png"]
    # Without dates and random ids, the same results give the same file.
    with mpl.rc_context({"svg.hashsalt": "ktcp"}):
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=150)
    return files


def title(results: Results) -> str:
    """What was measured, in a line."""
    trips = results.round_trips
    milliseconds = ", ".join(
        f"{trip.nominal * 1000:g}" for trip in (trips.client, trips.relay, trips.server)
    )
    return (
        f"Downloads over client - rc - rs - server, round trips {milliseconds} ms; "
        f"median of {results.runs}"
    )


def panel(axes: Axes, results: Results, heading: str, pick: Pick) -> None:
    """Draw one time for each size, both ways side by side."""
    for number, way in enumerate(Way):
        offset = (number - 0.5) * BAR_WIDTH
        bars(axes, results, way, offset, pick)
    axes.set_title(heading)
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    axes.set_xticks(
        range(len(results.comparisons)), [human_size(c.size) for c in results.comparisons]
    )
    axes.spines[["top", "right"]].set_visible(False)


def bars(axes: Axes, results: Results, way: Way, offset: float, pick: Pick) -> None:
    """Draw the bars of one way, each with its range over all runs and the model's figure."""
    comparisons = results.comparisons
    places = [number + offset for number in range(len(comparisons))]
    heights = [pick(measured(comparison, way)) for comparison in comparisons]
    ranges = [
        [pick(d) for d in results.downloads if d.way is way and d.size == comparison.size]
        for comparison in comparisons
    ]
    whiskers = [
        [height - min(values) for height, values in zip(heights, ranges, strict=True)],
        [max(values) - height for height, values in zip(heights, ranges, strict=True)],
    ]
    drawn = axes.bar(
        places,
        heights,
        BAR_WIDTH,
        yerr=whiskers,
        capsize=2,
        color=COLOURS[way],
        error_kw={"linewidth": 0.8},
        label=LABELS[way],
    )
    axes.bar_label(drawn, [f"{height:.2f}" for height in heights], padding=2, fontsize=8)
    axes.hlines(
        [pick(model(comparison, way)) for comparison in comparisons],
        [place - BAR_WIDTH / 2 for place in places],
        [place + BAR_WIDTH / 2 for place in places],
        colors="black",
        linestyles="dotted",
        label="model" if way is Way.KTCP else "_one entry in the legend is enough",
    )


def measured(comparison: Comparison, way: Way) -> Times:
    """The medians of one way."""
    return comparison.routed if way is Way.ROUTED else comparison.ktcp


def model(comparison: Comparison, way: Way) -> Times:
    """The model's figures for one way."""
    return comparison.routed_model if way is Way.ROUTED else comparison.ktcp_model
