# SPDX-License-Identifier: GPL-2.0-only
"""Two results side by side, and whether the second is worse than allowed."""

from collections.abc import Iterator
from dataclasses import dataclass

from ktcp_ops.bench.catalogue import label
from ktcp_ops.bench.progress import human_size
from ktcp_ops.bench.results import Options, Results
from ktcp_ops.errors import UsageError

# Figures of runs that differ in these are not about the same thing.
SAME = ("legs_ms", "direct_ms", "loss_percent", "bandwidth_mbit", "family")
SAME_COST = ("bulk_bytes", "idle_connections")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of both runs."""

    name: str
    before: float
    after: float
    more_is_better: bool = False
    memory: bool = False

    def is_worse(self, ratio: float, memory_ratio: float) -> bool:
        """True when it is more than so many times worse."""
        return self.ratio > (memory_ratio if self.memory else ratio)

    @property
    def ratio(self) -> float:
        """How many times worse the second is; below 1 it is better."""
        worse, better = (
            (self.before, self.after) if self.more_is_better else (self.after, self.before)
        )
        if better <= 0:
            return 1.0 if worse <= 0 else float("inf")
        return worse / better


def compare(before: Results, after: Results) -> list[Row]:
    """Every figure that both runs have.

    Raises:
        UsageError: The runs are of different networks, or have nothing in common.
    """
    check_same(before.options, after.options)
    rows = [*downloads(before, after), *costs(before, after), *set_ups(before, after)]
    if not rows:
        raise UsageError(f"{before.name} and {after.name} have no row in common")
    return rows


def check_same(before: Options, after: Options) -> None:
    """Both runs have to be of the same network, and to the same scale."""
    names = [*SAME, *(SAME_COST if before.costs and after.costs else ())]
    differing = [
        f"{name}: {getattr(before, name)} and {getattr(after, name)}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
    if differing:
        raise UsageError("these runs cannot be compared; they differ in " + "; ".join(differing))


def downloads(before: Results, after: Results) -> Iterator[Row]:
    """The medians."""
    for one in before.downloads:
        other = after.series(one.way, one.size)
        if other is None:
            continue
        name = f"{label(one.way)}, {human_size(one.size)}"
        first = (one.median.first_byte, other.median.first_byte)
        yield Row(name=f"{name}: first byte, s", before=first[0], after=first[1])
        yield Row(name=f"{name}: total, s", before=one.median.total, after=other.median.total)


def costs(before: Results, after: Results) -> Iterator[Row]:
    """CPU time, rates and memory."""
    others = {each.way: each for each in after.costs}
    for one in before.costs:
        other = others.get(one.way)
        if other is None:
            continue
        name = label(one.way)
        yield Row(name=f"{name}: CPU, s", before=one.cpu_s, after=other.cpu_s)
        yield Row(
            name=f"{name}: connections/s",
            before=one.connections_per_s,
            after=other.connections_per_s,
            more_is_better=True,
        )
        yield Row(name=f"{name}: idle, KiB", before=one.idle_kib, after=other.idle_kib, memory=True)


def set_ups(before: Results, after: Results) -> Iterator[Row]:
    """The median and the 99th percentile of set-up."""
    others = {(each.way, each.at_a_time): each for each in after.set_ups}
    for one in before.set_ups:
        other = others.get((one.way, one.at_a_time))
        if other is None:
            continue
        name = f"{label(one.way)}, {one.at_a_time} at a time"
        yield Row(name=f"{name}: set-up p50, s", before=one.p50, after=other.p50)
        yield Row(name=f"{name}: set-up p99, s", before=one.p99, after=other.p99)
