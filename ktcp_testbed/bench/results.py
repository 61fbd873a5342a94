# SPDX-License-Identifier: GPL-2.0-only
"""What was measured: the schema of results.json, which docs/bench.md explains.

All times are seconds, all sizes bytes, unless a name says otherwise.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from math import ceil
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ktcp_ops.errors import UsageError
from ktcp_ops.model import Estimate
from ktcp_testbed.bench import catalogue
from ktcp_testbed.bench.plan import Plan

SCHEMA_VERSION = 1
FILE = "results.json"

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Frozen(BaseModel):
    """A record that is checked when it is made, has no other keys, and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Times(Frozen):
    """From the client's SYN to the first and to the last byte."""

    first_byte: Seconds
    total: Seconds


class Series(Frozen):
    """The downloads of one file over one way."""

    way: str
    size: int = Field(gt=0)
    first: Times = Field(description="the first download, not counted: neighbours are unknown")
    runs: tuple[Times, ...] = Field(min_length=1)
    median: Times
    least: Times
    most: Times
    model: Times | None = Field(description="what theory says; null where it says nothing")


class Cost(Frozen):
    """What a way costs without any delay; one CPU does everything, both ends included."""

    way: str
    cpu_s: Seconds = Field(description="CPU time for options.bulk_bytes")
    connections_per_s: Number = Field(description="new ones, 8 at a time, replies of 1 byte")
    idle_kib: Number = Field(description="memory for an idle connection, in the whole guest")
    slow_reader_kib: Number = Field(description="the same for one whose client does not read")


class SetUp(Frozen):
    """How steady the set-up of connections is: from SYN to a response of one byte."""

    way: str
    at_a_time: int = Field(ge=1)
    count: int = Field(ge=1)
    p50: Seconds
    p99: Seconds
    most: Seconds


class Micro(Frozen):
    """The paper's micro-measurements."""

    threads_ns: dict[str, Number] = Field(
        description="create_ and switch_ kthread, process, pthread; nanoseconds each"
    )
    buffers_cpu_s: dict[str, Seconds] = Field(
        description="CPU time for options.bulk_bytes by the bytes of the forwarding buffer"
    )


class Options(Frozen):
    """What the run was asked for."""

    release: str
    memory_mib: int
    legs_ms: tuple[float, ...] = Field(description="round-trip times from client to server")
    direct_ms: float
    loss_percent: float
    bandwidth_mbit: float = Field(description="0 is without a limit")
    family: str
    sizes: dict[str, int]
    runs: int
    ways: tuple[str, ...]
    costs: tuple[str, ...]
    settings: dict[str, str]
    bulk_bytes: int
    idle_connections: int
    set_ups: int
    load_s: float


class Results(Frozen):
    """The whole of results.json."""

    schema_version: int = SCHEMA_VERSION
    name: str
    started: datetime
    took_s: Seconds = Field(description="of the host's time")
    options: Options
    versions: dict[str, str]
    downloads: tuple[Series, ...]
    costs: tuple[Cost, ...]
    set_ups: tuple[SetUp, ...]
    micro: Micro | None = Field(description="null where no cost was measured")

    def series(self, way: str, size: int) -> Series | None:
        """The downloads of a size over a way, if there were any."""
        found = (each for each in self.downloads if (each.way, each.size) == (way, size))
        return next(found, None)


def options_of(plan: Plan) -> Options:
    """The plan as the results record it."""
    return Options(release=plan.release, memory_mib=plan.memory_mib, **vars(plan.job))


def series_of(
    plan: Plan, way: str, size: int, first: Sequence[float], runs: Sequence[Sequence[float]]
) -> Series:
    """Sum up downloads, each given as the times to its first and last byte."""
    job = plan.job
    expected = (
        None
        if job.loss_percent
        else catalogue.theory(
            way,
            size,
            legs_ms=job.legs_ms,
            direct_ms=job.direct_ms,
            bandwidth_mbit=job.bandwidth_mbit,
        )
    )
    columns = list(zip(*runs, strict=True))
    return Series(
        way=way,
        size=size,
        first=times(first),
        runs=tuple(times(run) for run in runs),
        median=times([median(column) for column in columns]),
        least=times([min(column) for column in columns]),
        most=times([max(column) for column in columns]),
        model=None if expected is None else of_estimate(expected),
    )


def times(pair: Sequence[float]) -> Times:
    """Two figures of the guest as a record."""
    return Times(first_byte=pair[0], total=pair[1])


def of_estimate(estimate: Estimate) -> Times:
    """Two figures of the model as a record."""
    return Times(first_byte=estimate.first_byte, total=estimate.total)


def set_up_of(way: str, at_a_time: int, seconds: Sequence[float]) -> SetUp:
    """Sum up set-ups."""
    ordered = sorted(seconds)
    return SetUp(
        way=way,
        at_a_time=at_a_time,
        count=len(ordered),
        p50=percentile(ordered, 50),
        p99=percentile(ordered, 99),
        most=ordered[-1],
    )


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that is at least as large as ``share`` percent of the values."""
    return ordered[max(0, ceil(len(ordered) * share / 100) - 1)]


def dump(results: Results) -> str:
    """Write results.json: a line for each row of a list, for people, grep and diff."""
    parts = []
    for key, value in results.model_dump(mode="json").items():
        rows = value if isinstance(value, list) else []
        inner = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        parts.append(f" {json.dumps(key)}: " + (f"[\n{inner}\n ]" if rows else json.dumps(value)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read(place: Path) -> Results:
    """Read a report: its directory, or its results.json.

    Raises:
        UsageError: There is none, or this version did not write it.
    """
    file = place / FILE if place.is_dir() else place
    try:
        return Results.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; name a report") from error
    except (ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[:3]
        raise UsageError(
            f"{file} is not a results.json of this version: {' '.join(reason)}"
        ) from error
