# SPDX-License-Identifier: GPL-2.0-only
"""Two results side by side: whether the second is worse than allowed, or not the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench.catalogue import label
from ktcp_testbed.bench.progress import human_size
from ktcp_testbed.bench.results import Options, Results

# Runs that differ in these options cannot be compared.
SAME = ("legs_ms", "direct_ms", "loss_percent", "bandwidth_mbit", "family")
SAME_COST = ("bulk_bytes", "idle_connections")

# The largest difference between figures of the same work, on any hosts: what the bench promises.
# It promises nothing about memory, or about the slowest of many. Where TCP's slow start ends by
# chance, downloads of one run are whole round trips apart, and so may medians be.
SAME_S = 0.0005
SAME_SHARE = 0.03


class Kind(Enum):
    """What a figure is of."""

    TIME = auto()
    SLOWEST = auto()
    CPU = auto()
    RATE = auto()
    """The only kind of which more is better."""
    MEMORY = auto()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of both runs."""

    name: str
    before: float
    after: float
    kind: Kind = Kind.TIME
    spread: tuple[float, float] | None = None
    """The least and the most that `before` is the median of."""

    def is_worse(self, ratio: float, memory_ratio: float) -> bool:
        """Whether it is more times worse than allowed."""
        return self.ratio > (memory_ratio if self.kind is Kind.MEMORY else ratio)

    def is_other(self) -> bool:
        """Whether the difference is larger than between two runs of the same work."""
        apart = abs(self.after - self.before)
        match self.kind:
            case Kind.TIME:
                least, most = self.spread or (self.before, self.before)
                return not least - SAME_S <= self.after <= most + SAME_S
            case Kind.CPU | Kind.RATE:
                return apart > SAME_SHARE * self.before
            case Kind.SLOWEST | Kind.MEMORY:
                return False

    @property
    def ratio(self) -> float:
        """How many times worse the second is; below 1 it is better."""
        is_rate = self.kind is Kind.RATE
        worse, better = (self.before, self.after) if is_rate else (self.after, self.before)
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
    """Check that both runs are of the same network, and of the same scale."""
    names = [*SAME, *(SAME_COST if before.costs and after.costs else ())]
    differing = [
        f"{name}: {getattr(before, name)} and {getattr(after, name)}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
    if differing:
        raise UsageError("these runs cannot be compared; they differ in " + "; ".join(differing))


def two_kernels(before: Results, after: Results) -> str:
    """A sentence if the runs have different kernels, whose own speed may differ; else empty."""
    kernels = [each.versions.get("kernel", "an unknown one") for each in (before, after)]
    if kernels[0] == kernels[1]:
        return ""
    return f"these runs are of two kernels, which differ in speed: {' and '.join(kernels)}"


def downloads(before: Results, after: Results) -> Iterator[Row]:
    """The medians."""
    for one in before.downloads:
        other = after.series(one.way, one.size)
        if other is None:
            continue
        name = f"{label(one.way)}, {human_size(one.size)}"
        first = (one.median.first_byte, other.median.first_byte)
        yield Row(name=f"{name}: first byte, s", before=first[0], after=first[1])
        yield Row(
            name=f"{name}: total, s",
            before=one.median.total,
            after=other.median.total,
            spread=(one.least.total, one.most.total),
        )


def costs(before: Results, after: Results) -> Iterator[Row]:
    """CPU time, rates and memory."""
    others = {each.way: each for each in after.costs}
    for one in before.costs:
        other = others.get(one.way)
        if other is None:
            continue
        name = label(one.way)
        yield Row(name=f"{name}: CPU, s", before=one.cpu_s, after=other.cpu_s, kind=Kind.CPU)
        yield Row(
            name=f"{name}: connections/s",
            before=one.connections_per_s,
            after=other.connections_per_s,
            kind=Kind.RATE,
        )
        idle = (one.idle_kib, other.idle_kib)
        yield Row(name=f"{name}: idle, KiB", before=idle[0], after=idle[1], kind=Kind.MEMORY)


def set_ups(before: Results, after: Results) -> Iterator[Row]:
    """The median and the 99th percentile of set-up."""
    others = {(each.way, each.at_a_time): each for each in after.set_ups}
    for one in before.set_ups:
        other = others.get((one.way, one.at_a_time))
        if other is None:
            continue
        name = f"{label(one.way)}, {one.at_a_time} at a time"
        yield Row(name=f"{name}: set-up p50, s", before=one.p50, after=other.p50)
        slowest = (one.p99, other.p99)
        yield Row(
            name=f"{name}: set-up p99, s", before=slowest[0], after=slowest[1], kind=Kind.SLOWEST
        )
