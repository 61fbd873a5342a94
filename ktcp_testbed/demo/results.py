# SPDX-License-Identifier: GPL-2.0-only
"""What the demonstration measured: the schema of results.json, and medians.

docs/development.md explains the file to its readers; the field descriptions here are
its reference. All times are seconds, all sizes bytes.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ktcp_ops.model import Estimate, Improvements, Legs, routed, split

SCHEMA_VERSION = 1

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Way(StrEnum):
    """How the bytes of a download travel."""

    ROUTED = "routed"
    KTCP = "ktcp"


class Frozen(BaseModel):
    """A record that is checked when it is made, has no other keys, and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Download(Frozen):
    """One fetch by curl, whose bytes were the server's."""

    run: int = Field(ge=1, description="number of the round, from 1")
    way: Way
    size: int = Field(gt=0, description="bytes of the body")
    first_byte: Seconds = Field(
        description="from the connection's start to the response's first byte"
    )
    total: Seconds = Field(description="from the connection's start to the last byte")
    sha256: Sha256


class Times(Frozen):
    """Time to the first byte and to the last one."""

    first_byte: Seconds
    total: Seconds


class Comparison(Frozen):
    """The medians of one size, both ways, and the model's figures."""

    size: int = Field(gt=0)
    routed: Times
    ktcp: Times
    routed_model: Times
    ktcp_model: Times
    first_byte_speed_up: float = Field(description="routed / ktcp, medians")
    total_speed_up: float = Field(description="routed / ktcp, medians")


class StepTimes(Frozen):
    """The medians of one size at a step, and the model's figures."""

    size: int = Field(gt=0)
    ktcp: Times
    model: Times


class StepResult(Frozen):
    """The mesh with some of its improvements switched on."""

    name: str = Field(description="what is new at this step")
    settings: dict[str, str] = Field(description="the improvements, on or off, on both relays")
    sizes: tuple[StepTimes, ...]


class RoundTrip(Frozen):
    """A leg's round-trip time: as the topology has it, and as ping measured it (median)."""

    nominal: Seconds
    measured: Seconds


class RoundTrips(Frozen):
    """The legs of client -- rc -- rs -- server."""

    client: RoundTrip
    relay: RoundTrip
    server: RoundTrip

    def legs(self) -> Legs:
        """The nominal legs, for the model."""
        return Legs(
            client=self.client.nominal,
            relays=(self.relay.nominal,),
            server=self.server.nominal,
        )


class Versions(Frozen):
    """What the figures were taken with."""

    ktcp_ops: str
    module: str
    wire: str
    srcversion: str
    release: str = Field(description="Debian release of the guests")
    kernel: str = Field(description="uname -r of the relays")
    accelerator: str = Field(description="what ran the guests: kvm or tcg")


class Results(Frozen):
    """The whole of results.json."""

    schema_version: int = SCHEMA_VERSION
    started: datetime
    runs: int = Field(ge=1, description="downloads of each size each way")
    versions: Versions
    settings: dict[str, dict[str, str]] = Field(
        description="/proc/net/ktcp/settings of each relay when the downloads began"
    )
    round_trips: RoundTrips
    comparisons: tuple[Comparison, ...]
    downloads: tuple[Download, ...]
    steps: tuple[StepResult, ...] = Field(
        default=(), description="the mesh with nothing switched on, then one more at a time"
    )


def compare(
    downloads: Sequence[Download], *, legs: Legs, improvements: Improvements
) -> tuple[Comparison, ...]:
    """Compare the two ways for each size that was downloaded, smallest first."""
    sizes = sorted({download.size for download in downloads})
    return tuple(
        compare_size(
            size,
            (download for download in downloads if download.size == size),
            legs=legs,
            improvements=improvements,
        )
        for size in sizes
    )


def compare_size(
    size: int, downloads: Iterable[Download], *, legs: Legs, improvements: Improvements
) -> Comparison:
    """Compare the two ways for the downloads of one size; each way needs one at least."""
    by_way: dict[Way, list[Download]] = {way: [] for way in Way}
    for download in downloads:
        by_way[download.way].append(download)
    plain, ktcp = medians(by_way[Way.ROUTED]), medians(by_way[Way.KTCP])
    return Comparison(
        size=size,
        routed=plain,
        ktcp=ktcp,
        routed_model=times(routed(legs, size)),
        ktcp_model=times(split(legs, size, improvements)),
        first_byte_speed_up=plain.first_byte / ktcp.first_byte,
        total_speed_up=plain.total / ktcp.total,
    )


def medians(downloads: Sequence[Download]) -> Times:
    """The median time to the first and to the last byte."""
    return Times(
        first_byte=median(download.first_byte for download in downloads),
        total=median(download.total for download in downloads),
    )


def times(estimate: Estimate) -> Times:
    """A figure of the model as a record of the results."""
    return Times(first_byte=estimate.first_byte, total=estimate.total)


def busy(comparisons: Sequence[Comparison]) -> float:
    """The largest deviation of the routed first bytes from the model, as a share of it.

    Only distance and a busy host change them, so this tells how exact all figures are.
    """
    return max(
        abs(each.routed.first_byte / each.routed_model.first_byte - 1) for each in comparisons
    )


def improvements_in(settings: dict[str, str]) -> Improvements:
    """The improvements that a relay's settings switch on, of those that the model knows."""
    return Improvements(
        early_syn=settings.get("early_syn") == "on",
        conn_pool=settings.get("conn_pool") == "on",
        turbo=settings.get("turbo") == "on",
    )


def human_size(size: int) -> str:
    """Write a size for people: 10 KB, 1 MB, in units of 1,024."""
    if size >= 1024**2:
        return f"{size / 1024**2:g} MB"
    return f"{size / 1024:g} KB"
