# SPDX-License-Identifier: GPL-2.0-only
"""How far a run is, and how long it will take."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ktcp_testbed.bench.catalogue import label
from ktcp_testbed.bench.guest.cost import SET_UP_WAYS
from ktcp_testbed.bench.guest.downloads import runs_of
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.ways import FRESH
from ktcp_testbed.lab.virtual import Event

# What a part costs the host, compared with a download of 10 MiB. Only the ratios count.
SMALL = 0.1
PER_BYTE = 0.9 / (10 * 1024**2)
TUNNEL = 7.0
CIPHERS = 2.5
COST = 40.0
SET_UP = 0.03

# The share of the work after which the pace is known; the first parts say little about the rest.
PACE = 0.05


def weight(job: Job, part: str, way: str, size: int) -> float:
    """About how long a part takes, in any unit."""
    if part in ("cost", "micro"):
        return COST
    if part == "set-up":
        return SET_UP * job.set_ups * 2
    one, runs = SMALL + PER_BYTE * size, runs_of(job, way, size)
    if way in FRESH:
        return (runs + 1) * (TUNNEL + one)
    return (runs + 2) * one * (CIPHERS if way.startswith("ssh") else 1)


def parts(job: Job) -> list[tuple[str, str, int]]:
    """All parts of a job, in order: kind, way and size."""
    found = [("download", way, size) for way in job.ways for size in job.sizes.values()]
    found += [("cost", way, 0) for way in job.costs]
    if job.costs and job.set_ups:
        found += [("set-up", way, 0) for way in SET_UP_WAYS]
    if job.costs:
        found.append(("micro", "ktcp", 0))
    return found


@dataclass
class Progress:
    """Says what begins, and how much time is left by the pace so far."""

    job: Job
    say: Callable[[str], None]
    now: Callable[[], float]
    done: float = 0.0
    current: float = 0.0
    number: int = 0
    began: float | None = None
    total: float = field(init=False)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        everything = parts(self.job)
        self.count = len(everything)
        self.total = sum(weight(self.job, *part) for part in everything)

    def told(self, event: Event) -> None:
        """Process an event of the guest."""
        if event["event"] != "begin":
            return
        if self.began is None:
            self.began = self.now()
        self.done += self.current
        part, way, size = event["part"], event["way"], event["size"]
        self.current = weight(self.job, part, way, size)
        self.number += 1
        what = (
            f"{label(way)}, {human_size(size)}" if part == "download" else f"{label(way)}, {part}"
        )
        self.say(f"[{self.number}/{self.count}] {what}{self.left()}")

    def left(self) -> str:
        """The time left; empty until the pace is known."""
        if self.began is None or self.done < PACE * self.total:
            return ""
        seconds = (self.now() - self.began) / self.done * (self.total - self.done)
        return (
            f" (about {max(1, round(seconds / 60))} min left)" if seconds > 45 else " (soon done)"
        )


def human_size(size: int) -> str:
    """Write a size for people, in units of 1,024."""
    for limit, unit in ((1024**2, "MB"), (1024, "KB")):
        if size >= limit:
            return f"{size / limit:g} {unit}"
    return f"{size} B"
