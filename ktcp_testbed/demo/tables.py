# SPDX-License-Identifier: GPL-2.0-only
"""The results as tables of text; the console prints them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktcp_testbed.demo.results import Comparison, Results, StepResult, Times, human_size

COLUMNS = ("size", "routed", "its model", "KTCP", "its model", "speed-up")


@dataclass(frozen=True)
class Table:
    """A table ready to be printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Results) -> tuple[Table, ...]:
    """The medians to the first byte and to the last one, and what each improvement gave."""
    runs = f"seconds, median of {results.runs}"
    return (
        Table(
            f"Time to first byte ({runs})",
            COLUMNS,
            rows(results.comparisons, lambda t: t.first_byte, lambda c: c.first_byte_speed_up),
        ),
        Table(
            f"Time to last byte ({runs})",
            COLUMNS,
            rows(results.comparisons, lambda t: t.total, lambda c: c.total_speed_up),
        ),
        *([steps_table(results.steps, runs)] if results.steps else []),
    )


def steps_table(steps: Sequence[StepResult], runs: str) -> Table:
    """A row for each step: first byte of the smallest size, last byte of the largest."""
    small, large = steps[0].sizes[0].size, steps[0].sizes[-1].size
    first, last = f"first byte of {human_size(small)}", f"last byte of {human_size(large)}"
    return Table(
        f"What each improvement gives ({runs})",
        ("switched on", first, "its model", last, "its model"),
        tuple(
            (
                step.name,
                f"{step.sizes[0].ktcp.first_byte:.3f}",
                f"{step.sizes[0].model.first_byte:.3f}",
                f"{step.sizes[-1].ktcp.total:.3f}",
                f"{step.sizes[-1].model.total:.3f}",
            )
            for step in steps
        ),
    )


def rows(
    comparisons: Sequence[Comparison],
    pick: Callable[[Times], float],
    speed_up: Callable[[Comparison], float],
) -> tuple[tuple[str, ...], ...]:
    """A row for each size."""
    return tuple(
        (
            human_size(comparison.size),
            f"{pick(comparison.routed):.3f}",
            f"{pick(comparison.routed_model):.3f}",
            f"{pick(comparison.ktcp):.3f}",
            f"{pick(comparison.ktcp_model):.3f}",
            f"{speed_up(comparison):.2f}",
        )
        for comparison in comparisons
    )
