# SPDX-License-Identifier: GPL-2.0-only
"""The report as one HTML page that needs no other file, no script and no network."""

from collections.abc import Callable, Sequence
from html import escape
from math import isclose
from pathlib import Path
from string import Template

from ktcp_ops.model import Legs, ideal
from ktcp_testbed.bench import chart
from ktcp_testbed.bench.catalogue import CATALOGUE, links
from ktcp_testbed.bench.plan import Wishes, make
from ktcp_testbed.bench.progress import human_size
from ktcp_testbed.bench.results import Options, Results, options_of
from ktcp_testbed.bench.tables import Table, runs, tables

TEMPLATE = Path(__file__).with_name("page.html")


def render(results: Results) -> str:
    """Write the page."""
    options = results.options
    names = dict.fromkeys((*options.ways, *options.costs))
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=escape(results.name),
        headline=escape(headline(results)),
        topology=topology(results),
        figure3=figure(results, "first_byte"),
        figure4=figure(results, "total"),
        tables="\n".join(table(each) for each in tables(results)),
        ways=rows([[CATALOGUE[name].label, CATALOGUE[name].text] for name in names]),
        settings=escape(", ".join(f"{k} {v}" for k, v in options.settings.items()) or "none"),
        versions=rows([[name, value] for name, value in sorted(results.versions.items())]),
        runs=runs(results),
        started=results.started.strftime("%Y-%m-%d %H:%M UTC"),
        minutes=f"{results.took_s / 60:.0f}",
        release=escape(options.release),
        command=escape(command(results)),
    )


def headline(results: Results) -> str:
    """The result in a sentence, as far as it was measured."""
    size = max(results.options.sizes.values(), default=0)
    ours, theirs = results.series("ktcp", size), results.series("e2e", size)
    if ours is None or theirs is None:
        return "Downloads over two relays, split and not split."
    first = theirs.median.first_byte / ours.median.first_byte
    total = theirs.median.total / ours.median.total
    legs = Legs(client=sum(results.options.legs_ms) / 1000)
    pipe = ideal(legs, size, links(results.options.bandwidth_mbit))
    return (
        f"A download of {human_size(size)} begins after {ours.median.first_byte:.4f} s through "
        f"KTCP and after {theirs.median.first_byte:.4f} s end to end ({first:.2f} times as fast), "
        f"and is complete after {ours.median.total:.3f} s and {theirs.median.total:.3f} s "
        f"({total:.2f} times). A pipe without any protocol would take {pipe.total:.4f} s."
    )


def topology(results: Results) -> str:
    """The chain, drawn with characters."""
    legs = results.options.legs_ms
    middle = [f"m{number}" for number in range(1, len(legs) - 2)]
    relays = ["rc", *middle, "rs"] if len(legs) > 2 else ["rc"]
    hosts = ["client", *relays, "server"]
    line = hosts[0] + "".join(
        f" --{leg:g} ms-- {host}" for leg, host in zip(legs, hosts[1:], strict=True)
    )
    return escape(f"{line}\nclient --{results.options.direct_ms:g} ms-- server   (end to end)")


def figure(results: Results, pick: chart.Pick) -> str:
    """The panels of a figure, side by side if the screen is wide enough."""
    sizes = sorted(results.options.sizes.values()) if results.options.ways else []
    panels = [f"<figure>{chart.inline(results, size, pick)}</figure>" for size in sizes]
    return f'<div class="panels">{"".join(panels)}</div>'


def table(content: Table) -> str:
    """A table with its title; wide ones scroll within themselves."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in content.columns)
    body = rows(content.rows)
    return (
        f"<h3>{escape(content.title)}</h3>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{body}</table></div>'
    )


def rows(cells: Sequence[Sequence[str]]) -> str:
    """The body of a table."""
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells
    )
    return f"<tbody>{lines}</tbody>"


# Each option and its values; the option is repeated for each of them.
WORDS: dict[str, Callable[[Options], Sequence[str]]] = {
    "--release": lambda o: [o.release],
    "--memory": lambda o: [str(o.memory_mib)],
    "--rtt": lambda o: [",".join(f"{leg:g}" for leg in o.legs_ms)],
    "--direct-rtt": lambda o: [] if isclose(o.direct_ms, sum(o.legs_ms)) else [f"{o.direct_ms:g}"],
    "--loss": lambda o: [f"{o.loss_percent:g}"],
    "--bandwidth": lambda o: [f"{o.bandwidth_mbit:g}"],
    "--family": lambda o: [o.family],
    "--size": lambda o: list(o.sizes),
    "--runs": lambda o: [str(o.runs)],
    "--way": lambda o: o.ways,
    "--cost": lambda o: o.costs,
    "--set": lambda o: [f"{name}={value}" for name, value in o.settings.items()],
    "--set-ups": lambda o: [str(o.set_ups)],
    "--idle": lambda o: [str(o.idle_connections)],
}


def command(results: Results) -> str:
    """The command that repeats the run, with the options that differ from the defaults."""
    usual = options_of(make(Wishes()))
    words = ["./dev bench", *([] if results.name == Wishes.name else [f"--name {results.name}"])]
    for option, values in WORDS.items():
        found = values(results.options)
        if list(found) != list(values(usual)):
            words += [f"{option} {value}" for value in found]
    return " ".join([*words, *([] if results.options.costs else ["--no-cost"])])
