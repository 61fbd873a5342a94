# SPDX-License-Identifier: GPL-2.0-only
"""Results as rows of text, for terminals, CSV and the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from ktcp_testbed.bench.catalogue import label
from ktcp_testbed.bench.progress import human_size
from ktcp_testbed.bench.results import Cost, Results, Series

MILLI = 1000


@dataclass(frozen=True, kw_only=True)
class Table:
    """A title, columns and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(results: Results) -> list[Table]:
    """All tables of a report; those of parts that were not measured are left out."""
    found = [
        first_bytes(results),
        totals(results),
        firsts(results),
        costs(results),
        set_ups(results),
        *micro(results),
    ]
    return [table for table in found if table.rows]


def first_bytes(results: Results) -> Table:
    """Time to first byte of each way and size."""
    title = f"Time to first byte, seconds, median of {runs(results)}"
    return by_size(results, title, "first_byte")


def totals(results: Results) -> Table:
    """Download time of each way and size."""
    title = f"Download completion time, seconds, median of {runs(results)}"
    return by_size(results, title, "total")


def runs(results: Results) -> str:
    """How many downloads a median is of; long downloads are fewer."""
    counts = {len(series.runs) for series in results.downloads} or {results.options.runs}
    return " to ".join(str(count) for count in sorted({min(counts), max(counts)}))


def firsts(results: Results) -> Table:
    """The first downloads, which are not counted: neighbours and cookies are unknown then."""
    sizes = sorted(results.options.sizes.values())
    rows = []
    for way in results.options.ways:
        series = [results.series(way, size) for size in sizes]
        cells = ["-" if each is None else f"{each.first.first_byte:.4f}" for each in series]
        rows.append([label(way), *cells])
    title = "Time to first byte of each row's first download, seconds; not counted above"
    return Table(title=title, columns=["way", *map(human_size, sizes)], rows=rows)


def by_size(results: Results, title: str, pick: str) -> Table:
    """A figure of each way and size, and how far off the model is at most."""
    sizes = sorted(results.options.sizes.values())
    columns = ["way", *(human_size(size) for size in sizes), "model off by"]
    rows = []
    for way in results.options.ways:
        series = [results.series(way, size) for size in sizes]
        cells = ["-" if each is None else f"{getattr(each.median, pick):.4f}" for each in series]
        rows.append([label(way), *cells, deviation([each for each in series if each], pick)])
    return Table(title=title, columns=columns, rows=rows)


def deviation(series: Sequence[Series], pick: str) -> str:
    """How far the model is from the median at worst, as a share of the median."""
    shares = [
        (getattr(each.model, pick) - getattr(each.median, pick)) / getattr(each.median, pick)
        for each in series
        if each.model is not None
    ]
    return f"{max(shares, key=abs):+z.1%}" if shares else "-"


def costs(results: Results) -> Table:
    """What each way costs, with client and server; the routed row is the cost of these two."""
    megabytes = results.options.bulk_bytes // 1024**2
    columns = ["way", f"CPU s for {megabytes} MB", "connections/s"]
    columns += ["idle, KiB each", "slow reader, KiB each"]
    title = "Cost without delays; one CPU does all, both ends included"
    return Table(title=title, columns=columns, rows=[cost_row(each) for each in results.costs])


def cost_row(cost: Cost) -> list[str]:
    """The cells of a way."""
    return [
        label(cost.way),
        f"{cost.cpu_s:.3f}",
        f"{cost.connections_per_s:.0f}",
        f"{cost.idle_kib:.1f}",
        f"{cost.slow_reader_kib:.0f}",
    ]


def set_ups(results: Results) -> Table:
    """How steady set-up is."""
    columns = ["way", "at a time", "p50 ms", "p99 ms", "max ms", "max - p50 ms"]
    title = f"Set-up of {results.options.set_ups} connections, from SYN to first byte"
    rows = [
        [
            label(each.way),
            str(each.at_a_time),
            *(f"{value * MILLI:.3f}" for value in (each.p50, each.p99, each.most)),
            f"{(each.most - each.p50) * MILLI:.3f}",
        ]
        for each in results.set_ups
    ]
    return Table(title=title, columns=columns, rows=rows)


def micro(results: Results) -> list[Table]:
    """The paper's micro-measurements."""
    if results.micro is None:
        return []
    threads = results.micro.threads_ns
    kinds = ("kthread", "process", "pthread")
    made = [[kind, f"{threads[f'create_{kind}']:.0f}"] for kind in kinds]
    switched = [f"{threads[f'switch_{kind}']:.0f}" for kind in kinds]
    megabytes = results.options.bulk_bytes // 1024**2
    return [
        Table(
            title="Threads, nanoseconds",
            columns=["kind", "to make one", "to switch to another"],
            rows=[[*row, switch] for row, switch in zip(made, switched, strict=True)],
        ),
        Table(
            title="KTCP's forwarding buffer",
            columns=["bytes", f"CPU s for {megabytes} MB"],
            rows=[[size, f"{cpu:.3f}"] for size, cpu in results.micro.buffers_cpu_s.items()],
        ),
    ]


def csv_rows(results: Results) -> list[list[str]]:
    """A row for each download, for other programs."""
    rows = [["way", "size", "run", "first_byte_s", "total_s"]]
    for series in results.downloads:
        for number, run in enumerate((series.first, *series.runs)):
            figures = [f"{run.first_byte:.6f}", f"{run.total:.6f}"]
            rows.append([series.way, str(series.size), str(number), *figures])
    return rows
