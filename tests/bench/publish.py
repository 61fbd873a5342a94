# SPDX-License-Identifier: GPL-2.0-only
"""Puts a report's figures into the documents: docs/figures, and their part of README.md.

./dev run python -m tests.bench.publish build/bench/paper
"""

import sys
from pathlib import Path

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench import chart, report, results
from ktcp_testbed.bench.catalogue import COSTS, WAYS, label
from ktcp_testbed.bench.progress import human_size
from ktcp_testbed.bench.results import FILE, Results
from ktcp_testbed.bench.tables import runs

ROOT = Path(__file__).parents[2]
PLACE = Path("docs/figures")
README = Path("README.md")
BEGIN = "<!-- figures: python -m tests.bench.publish writes what follows -->\n"
END = "<!-- figures: end -->\n"
TEXT = """
{figures}

Round trips of {legs} ms, medians of {runs}. Blue is KTCP, grey are the paper's other rows,
orange today's relays; dotted is what theory says. In seconds:

{downloads}

And the work, without any delay. One CPU does all of it, both ends included:

{costs}

KTCP {module} on Linux {kernel}, beside {rivals}.
[{place}/{file}]({place}/{file}) has all figures, [docs/bench.md](docs/bench.md) how they are
taken and what they cannot show.

"""
RIVALS = ("ssh", "haproxy", "nginx", "envoy", "socat")
CAPTIONS = {"figure3": "Time to first byte", "figure4": "Download completion time"}


def section(found: Results) -> str:
    """The part of README.md that has figures."""
    versions = found.versions
    return TEXT.format(
        figures="\n".join(f"![{text}]({PLACE}/{name}.svg)" for name, text in CAPTIONS.items()),
        legs=", ".join(f"{leg:g}" for leg in found.options.legs_ms),
        runs=runs(found),
        downloads=table(downloads(found)),
        costs=table(costs(found)),
        place=PLACE,
        file=FILE,
        module=versions["module"],
        kernel=versions["kernel"],
        rivals=", ".join(f"{name} {versions[name]}" for name in RIVALS if name in versions),
    )


def downloads(found: Results) -> list[list[str]]:
    """First byte of the smallest file, and last byte of each."""
    sizes = sorted(found.options.sizes.values())
    rows = [["", "first byte", *(human_size(size) for size in sizes)]]
    for way in found.options.ways:
        series = [each for size in sizes if (each := found.series(way, size))]
        totals = [f"{each.median.total:.3f}" for each in series]
        rows.append([label(way), f"{series[0].median.first_byte:.3f}", *totals])
    return rows


def costs(found: Results) -> list[list[str]]:
    """CPU time, connections and memory."""
    megabytes = found.options.bulk_bytes // 1024**2
    heading = ["", f"CPU s for {megabytes} MB", "new connections/s", "KiB for an idle one"]
    return [
        heading,
        *(
            [label(e.way), f"{e.cpu_s:.2f}", f"{e.connections_per_s:.0f}", f"{e.idle_kib:.0f}"]
            for e in found.costs
        ),
    ]


def table(rows: list[list[str]]) -> str:
    """Rows as Markdown, the first being the heading; figures stand to the right."""
    heading, *body = rows
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *body))


def replaced(document: str, text: str) -> str:
    """A document with its figures replaced."""
    before, rest = document.split(BEGIN)
    return before + BEGIN + text + END + rest.split(END)[1]


def publish(place: Path, root: Path = ROOT) -> None:
    """Let the documents show the report at ``place``.

    Raises:
        UsageError: It is no report, or only a part of one.
    """
    found = results.read(place)
    missing = {*WAYS} - {*found.options.ways} | {*COSTS} - {*found.options.costs}
    if missing:
        raise UsageError(f"{place} has no {', '.join(sorted(missing))}; publish a whole run")
    write(found, root)


def write(found: Results, root: Path) -> None:
    """Write the figures."""
    (root / PLACE).mkdir(exist_ok=True)
    (root / PLACE / FILE).write_text(results.dump(found), encoding="utf-8")
    for name, pick in report.FIGURES.items():
        chart.draw(found, pick, root / PLACE, name)
    readme = root / README
    readme.write_text(replaced(readme.read_text("utf-8"), section(found)), encoding="utf-8")


if __name__ == "__main__":
    publish(Path(sys.argv[1]))
