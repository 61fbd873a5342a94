# SPDX-License-Identifier: GPL-2.0-only
"""What to measure: the options of a run, checked before anything is started."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench.catalogue import CATALOGUE, COSTS, WAYS
from ktcp_testbed.bench.guest.cost import BULK
from ktcp_testbed.bench.guest.job import Family, Job
from ktcp_testbed.bench.guest.ktcp import IMPROVEMENTS
from ktcp_testbed.lab.recipe import Release

PAPER_MS = (32.7, 215.0, 26.0)
SIZES = ("10k", "50k", "100k", "1m", "10m", "100m")
UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}
# Memory of the guest for its kernel, programs (Envoy has 107 MB) and buffers, not for files.
SYSTEM_MIB = 800
MEMORY_MIB = 1536
# netem and TCP would accept more, but no path on Earth has it.
LONGEST_MS = 10_000.0
MOST_RELAYS = 9
MOST_RUNS = 10_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the benchmark."""

    name: str
    directory: Path
    """Where the report goes, when everything is measured."""
    release: Release
    memory_mib: int
    job: Job


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The options as they were given; ``make`` checks them."""

    name: str = "paper"
    parent: Path = Path("build/bench")
    release: Release = "trixie"
    memory_mib: int = MEMORY_MIB
    rtt: str = ",".join(f"{leg:g}" for leg in PAPER_MS)
    direct_ms: float | None = None
    loss_percent: float = 0.0
    bandwidth_mbit: float = 0.0
    family: Family = "ipv4"
    sizes: Sequence[str] = SIZES
    runs: int = 50
    ways: Sequence[str] = WAYS
    costs: Sequence[str] = COSTS
    settings: Sequence[str] = ()
    set_ups: int = 1000
    idle_connections: int = 1000


def make(wishes: Wishes) -> Plan:
    """Check the options.

    Raises:
        UsageError: They are wrong; the message has every mistake, a line each.
    """
    problems: list[str] = []
    legs = read_legs(wishes.rtt, problems)
    sizes = read_sizes(wishes.sizes, problems)
    settings = read_settings(wishes.settings, problems)
    check_names("--way", wishes.ways, problems)
    check_names("--cost", wishes.costs, problems)
    check_numbers(wishes, problems)
    check_splits(wishes, legs, problems)
    check_memory(wishes, sizes, problems)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", wishes.name):
        problems.append(f"--name {wishes.name!r}: use letters, digits, dots and dashes")
    if problems:
        raise UsageError("\n".join(problems))
    return Plan(
        name=wishes.name,
        directory=wishes.parent / wishes.name,
        release=wishes.release,
        memory_mib=wishes.memory_mib,
        job=job_of(wishes, legs, sizes, settings),
    )


def job_of(
    wishes: Wishes, legs: tuple[float, ...], sizes: dict[str, int], settings: dict[str, str]
) -> Job:
    """Make the guest's job from checked options."""
    return Job(
        legs_ms=legs,
        direct_ms=sum(legs) if wishes.direct_ms is None else wishes.direct_ms,
        loss_percent=wishes.loss_percent,
        bandwidth_mbit=wishes.bandwidth_mbit,
        family=wishes.family,
        sizes=sizes,
        runs=wishes.runs,
        ways=tuple(wishes.ways),
        costs=tuple(wishes.costs),
        settings=settings,
        bulk_bytes=3 * BULK,
        idle_connections=wishes.idle_connections,
        set_ups=wishes.set_ups,
        load_s=1.0,
    )


def read_legs(text: str, problems: list[str]) -> tuple[float, ...]:
    """The round-trip times of the legs, in milliseconds."""
    try:
        legs = tuple(float(word) for word in text.split(","))
    except ValueError:
        problems.append(f"--rtt {text!r}: write milliseconds with commas, like 32.7,215,26")
        return PAPER_MS
    for leg in legs:
        check_between("--rtt", leg, 0.0, LONGEST_MS, "milliseconds", problems)
    if not 2 <= len(legs) <= MOST_RELAYS:
        problems.append(
            f"--rtt {text!r}: {len(legs)} legs; name 2 to {MOST_RELAYS}, one more than there "
            "are relays"
        )
    return legs


def read_sizes(words: Sequence[str], problems: list[str]) -> dict[str, int]:
    """The sizes of the files by name, smallest first."""
    sizes = {}
    for word in words:
        found = re.fullmatch(r"([1-9]\d{0,11})([kmg]?)", word.lower())
        if found:
            sizes[word.lower()] = int(found[1]) * UNITS.get(found[2], 1)
        else:
            problems.append(f"--size {word!r}: write bytes, or a number with k, m or g, like 100k")
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def read_settings(words: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Read more settings of the module; the module itself checks whether they exist."""
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", name) or not re.fullmatch(r"\w+", value):
            problems.append(f"--set {word!r}: write NAME=VALUE, like buffer_bytes=65536")
        elif name in IMPROVEMENTS:
            problems.append(f"--set {word!r}: the rows switch {name}; choose rows with --way")
        else:
            settings[name] = value
    return settings


def check_names(option: str, names: Sequence[str], problems: list[str]) -> None:
    """Every way has to exist."""
    known = ", ".join(CATALOGUE)
    problems += [
        f"{option} {name!r}: there is no such way; there are {known}"
        for name in names
        if name not in CATALOGUE
    ]


def check_numbers(wishes: Wishes, problems: list[str]) -> None:
    """Every number has to make sense on its own."""
    if wishes.direct_ms is not None:
        check_between("--direct-rtt", wishes.direct_ms, 0, LONGEST_MS, "milliseconds", problems)
    check_between("--loss", wishes.loss_percent, 0, 50, "percent", problems)
    check_between("--bandwidth", wishes.bandwidth_mbit, 0, 100_000, "Mbit/s", problems)
    check_between("--runs", wishes.runs, 1, MOST_RUNS, "runs", problems)
    check_between("--set-ups", wishes.set_ups, 0, MOST_RUNS, "connections", problems)
    check_between("--idle", wishes.idle_connections, 1, 15_000, "connections", problems)


def check_between(
    option: str, value: float, least: float, most: float, unit: str, problems: list[str]
) -> None:
    """A number has to be within its range; NaN is in no range."""
    if not (math.isfinite(value) and least <= value <= most):
        problems.append(f"{option} {value:g}: must be between {least:g} and {most:g} {unit}")


def check_splits(wishes: Wishes, legs: Sequence[float], problems: list[str]) -> None:
    """Some ways need two relays at least."""
    needy = [name for name in (*wishes.ways, *wishes.costs) if name.startswith("ssh-")]
    if len(legs) == 2 and needy:
        problems.append(f"--rtt {wishes.rtt!r}: {needy[0]} needs two relays, so give three legs")


def check_memory(wishes: Wishes, sizes: Mapping[str, int], problems: list[str]) -> None:
    """The guest's memory has room for all files, and twice for the largest."""
    files = sum(sizes.values()) + max(sizes.values(), default=0)
    needed = SYSTEM_MIB + (files + BULK) // 1024**2
    if wishes.memory_mib < needed:
        problems.append(
            f"--memory {wishes.memory_mib}: files of these sizes need a guest of {needed} MiB; "
            "give it more, or leave the largest out"
        )
