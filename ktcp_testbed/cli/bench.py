# SPDX-License-Identifier: GPL-2.0-only
"""``./dev bench``: the paper's evaluation in a guest that runs in virtual time."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.options import from_fields
from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_testbed.bench import plan as plans
from ktcp_testbed.bench import results, session, tables
from ktcp_testbed.bench.catalogue import COSTS, WAYS
from ktcp_testbed.bench.compare import Row, compare, two_kernels
from ktcp_testbed.bench.plan import Wishes
from ktcp_testbed.cli.lab import ReleaseName

app = typer.Typer(no_args_is_help=True, help="Measure KTCP and its rivals, repeatably.")

DEFAULTS = Wishes()


class FamilyName(StrEnum):
    """The version of IP."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of ``paper``."""

    name: Annotated[str, typer.Option(help="The report's name.")] = DEFAULTS.name
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", envvar="KTCP_BENCH_DIR", help="Where reports go, each in its own directory."
        ),
    ] = DEFAULTS.parent
    release: Annotated[ReleaseName, typer.Option(help="Debian release of the guest.")] = (
        ReleaseName.TRIXIE
    )
    memory: Annotated[int, typer.Option(help="The guest's memory in MiB.")] = DEFAULTS.memory_mib
    rtt: Annotated[
        str, typer.Option(help="Round trips of the legs in ms, one more than relays.")
    ] = DEFAULTS.rtt
    direct_rtt: Annotated[
        float | None,
        typer.Option(
            help="Round trip of the path without relays in ms.", show_default="sum of --rtt"
        ),
    ] = None
    loss: Annotated[float, typer.Option(help="Packets lost on the client's leg in percent.")] = 0.0
    bandwidth: Annotated[float, typer.Option(help="Mbit/s of each leg; 0: no limit.")] = 0.0
    family: Annotated[FamilyName, typer.Option(help="The version of IP.")] = FamilyName.IPV4
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="A file's size, like 100k; repeatable.", show_default=", ".join(plans.SIZES)
        ),
    ] = None
    runs: Annotated[int, typer.Option(help="Downloads of each size each way.")] = DEFAULTS.runs
    way: Annotated[
        list[str] | None,
        typer.Option(help="A way to measure; repeatable.", show_default=", ".join(WAYS)),
    ] = None
    cost: Annotated[
        list[str] | None,
        typer.Option(help="A way to find the cost of; repeatable.", show_default=", ".join(COSTS)),
    ] = None
    no_cost: Annotated[bool, typer.Option("--no-cost", help="Measure no cost.")] = False
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE: a setting of the module for all its rows; repeatable."
        ),
    ] = None
    set_ups: Annotated[int, typer.Option(help="Connections whose set-up is timed.")] = 1000
    idle: Annotated[int, typer.Option(help="Connections held open for memory.")] = 1000

    def wishes(self) -> Wishes:
        """Give the options in the form that the bench takes."""
        return Wishes(
            name=self.name,
            parent=self.directory,
            release=self.release.value,
            memory_mib=self.memory,
            rtt=self.rtt,
            direct_ms=self.direct_rtt,
            loss_percent=self.loss,
            bandwidth_mbit=self.bandwidth,
            family=self.family.value,
            sizes=self.size or DEFAULTS.sizes,
            runs=self.runs,
            ways=self.way or DEFAULTS.ways,
            costs=() if self.no_cost else self.cost or DEFAULTS.costs,
            settings=self.setting or (),
            set_ups=self.set_ups,
            idle_connections=self.idle,
        )


def paper(asked: Asked) -> None:
    """Repeat the paper's figures 3 and 4, beside today's rivals and the model.

    Everything runs in one virtual machine whose clock counts instructions, so that the same
    work gives the same figures on every host. Writes a report and prints its tables.
    """
    plan = plans.make(asked.wishes())
    require_drawing()
    from ktcp_testbed.bench import report  # noqa: PLC0415 - the other commands work without it

    found = session.measure(plan, asked.directory / f".{asked.name}.work")
    # First, since it works even on a full disk.
    show(found)
    for file in report.write(found, plan.directory):
        console.print_line(str(file))


app.command(name="paper")(from_fields(Asked, paper))


def require_drawing() -> None:
    """Check that the library that draws is there, before minutes of measuring.

    Raises:
        KtcpError: It is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise KtcpError("matplotlib is missing: use ./dev bench, which installs it")


def show(found: results.Results) -> None:
    """Print the tables."""
    for table in tables.tables(found):
        console.print_line(f"\n{table.title}")
        console.print_table(table.columns, table.rows)
    console.print_line("")


Ratio = Annotated[float, typer.Option(help="How many times worse a figure may be; 1.05 is 5 %.")]
MemoryRatio = Annotated[
    float, typer.Option(help="The same for memory, which guests report coarsely.")
]
Same = Annotated[
    bool,
    typer.Option(
        "--same",
        help="Check instead that the second repeats the first: medians to 0.5 ms, CPU time "
        "and rates to 3 %.",
    ),
]


@app.command(name="compare")
def show_comparison(
    before: Annotated[Path, typer.Argument(help="A report, or its results.json.")],
    after: Annotated[Path, typer.Argument(help="Another report, to compare with it.")],
    *,
    ratio: Ratio = 1.05,
    memory_ratio: MemoryRatio = 2.0,
    same: Same = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show two results side by side. Exit code 1 if a figure got worse than allowed."""
    first, second = results.read(before), results.read(after)
    rows = compare(first, second)
    kernels = two_kernels(first, second)
    if kernels:
        console.print_note(kernels)
    failed = [
        row for row in rows if (row.is_other() if same else row.is_worse(ratio, memory_ratio))
    ]
    what = (
        "not the same" if same else f"more than {ratio:g} times worse ({memory_ratio:g} for memory)"
    )
    why = f"; {kernels}" if kernels else ""
    figures = [
        {"name": row.name, "before": row.before, "after": row.after, "ratio": row.ratio}
        for row in rows
    ]
    give(
        output,
        ExitCode.FAILED if failed else ExitCode.OK,
        {"figures": figures},
        partial(print_comparison, rows, failed),
        remarks=[f"{len(failed)} of {len(rows)} figures are {what}{why}"] if failed else [],
    )


def print_comparison(rows: Sequence[Row], failed: Sequence[Row]) -> None:
    """Print each figure on a line, before and after."""
    console.print_table(
        ["figure", "before", "after", "times worse", ""],
        [
            [
                row.name,
                f"{row.before:.4f}",
                f"{row.after:.4f}",
                f"{row.ratio:.3f}",
                "failed" if row in failed else "",
            ]
            for row in rows
        ],
    )
