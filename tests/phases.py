# SPDX-License-Identifier: GPL-2.0-only
"""The phases of a test run: what each one executes and how long it may take."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_testbed.lab.recipe import RELEASES

Command = tuple[str, ...]

PYTEST: Command = (sys.executable, "-m", "pytest")
HARNESS: Command = (sys.executable, "-m", "tests.harness")
BASELINE = "tests/bench/baseline.json"
SHELLS = {b"sh", b"bash", b"dash"}

# The release whose kernel is also tested under KASAN.
DEBUGGED = "trixie"
# The group of phases that run only on request.
EXTENDED = "extended"
# The scenarios of every run; the others boot machines for minutes, and are extended.
SCENARIOS = ("default", "relay_pair")
# The phases that take only minutes, for every developer.
QUICK = "quick"
# The lane beside the terminal's. A guest in virtual time keeps one core busy, so two cores serve
# two lanes. These phases make both lanes about equally long: a scenario, the suite of one stock
# kernel, and half of the debug kernel's. The scenario is the first of its lane, and the other
# scenario the last of the other lane. So the second one finds the module that the first has built,
# which takes an emulated machine minutes, and their machines do not compete for the cores.
BESIDE = 1
RELEASE_BESIDE = "bookworm"
SCENARIO_BESIDE = "default"
SHARES = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Commands that must all succeed within `minutes`, and the groups they belong to.

    `ahead` makes things that the phase would wait for; it may run beside earlier phases. Phases of
    one `lane` run one after the other, lanes beside each other.
    """

    name: str
    groups: frozenset[str]
    minutes: int
    commands: tuple[Command, ...]
    ahead: Command | None = None
    lane: int = 0


def every(root: Path) -> list[Phase]:
    """All phases of the checkout at `root`, in the order in which they run: quick ones first."""
    scenarios = [
        scenario_phase(path.parent.name) for path in sorted(root.glob("molecule/*/molecule.yml"))
    ]
    return [
        phase("lint", "fast", QUICK, minutes=10, commands=lint_commands(root)),
        phase(
            "unit",
            "fast",
            QUICK,
            minutes=10,
            commands=[(*PYTEST, "tests/unit", "--cov", "--numprocesses", "auto")],
        ),
        phase("contract", "fast", QUICK, minutes=5, commands=[(*PYTEST, "tests/contract")]),
        phase("smoke", QUICK, minutes=15, commands=[(*HARNESS, "run", "--smoke")]),
        phase("pythons", minutes=20, commands=python_commands()),
        *(scenario for scenario in scenarios if scenario.lane == BESIDE),
        *compiler_phases(),
        *(
            phase(
                f"kernel {release}",
                "kernel",
                minutes=60,
                commands=[(*HARNESS, "run", "--release", release, *only_family(release))],
                lane=BESIDE if release == RELEASE_BESIDE else 0,
            )
            for release in RELEASES
        ),
        phase("rehearsal", "kernel", minutes=15, commands=[(*PYTEST, "tests/rehearsal")]),
        phase("bench", "bench", minutes=20, commands=bench_commands()),
        phase("browser", "bench", minutes=10, commands=[(*PYTEST, "tests/browser")]),
        *(debug_phase(share) for share in SHARES),
        phase("kernel defences", "kernel", EXTENDED, minutes=60, commands=[(*HARNESS, "without")]),
        cloud_phase(),
        *(scenario for scenario in scenarios if scenario.lane != BESIDE),
    ]


def python_commands() -> list[Command]:
    """The operator's package in the Pythons that this machine does not have."""
    # Neither of Debian's releases has this one. Types show what it lacks or has moved.
    types = ("mypy", "--python-version", "3.12", "ktcp_ops")
    return [types, (sys.executable, "-m", "tests.pythons")]


def compiler_phases() -> list[Phase]:
    """Checks of the module with the headers of all kernels that it supports."""
    return [
        phase("kernel lint", "kernel", minutes=20, commands=[(*HARNESS, "lint")]),
        phase("kernel builds", "kernel", minutes=30, commands=[(*HARNESS, "builds")]),
    ]


def cloud_phase() -> Phase:
    """The smoke tests in the kernels for clouds for which `kernel builds` only compiles."""
    smoke = (*HARNESS, "run", "--smoke", "--kernel")
    stock = [(*smoke, "cloud", "--release", release) for release in RELEASES]
    backports = (*smoke, "cloud-backports", "--release", "bookworm")
    return phase("kernel clouds", "kernel", EXTENDED, minutes=30, commands=[*stock, backports])


def debug_phase(share: int) -> Phase:
    """A share of the tests in the debug kernel; the other shares run beside it."""
    debugged = ("--release", DEBUGGED, "--checker", "kasan")
    return phase(
        f"kernel debug {share}",
        "kernel",
        "kernel debug",
        minutes=90,
        commands=[(*HARNESS, "run", *debugged, "--share", f"{share}/{len(SHARES)}")],
        ahead=(*HARNESS, "prepare", *debugged) if share == SHARES[0] else None,
        lane=share - 1,
    )


def only_family(release: str) -> tuple[str, ...]:
    """Options for one family only, if the debug kernel of this release tests both."""
    return ("--family", "v4") if release == DEBUGGED else ()


def phase(
    name: str,
    *groups: str,
    minutes: int,
    commands: Sequence[Command],
    ahead: Command | None = None,
    lane: int = 0,
) -> Phase:
    """A phase, written as it reads best in a list of them."""
    return Phase(
        name=name,
        groups=frozenset(groups),
        minutes=minutes,
        commands=tuple(commands),
        ahead=ahead,
        lane=lane,
    )


def scenario_phase(scenario: str) -> Phase:
    """The phase of a scenario of molecule."""
    return phase(
        f"molecule {scenario}",
        "molecule",
        *([] if scenario in SCENARIOS else [EXTENDED]),
        minutes=60,
        commands=[("molecule", "test", "--scenario-name", scenario)],
        lane=BESIDE if scenario == SCENARIO_BESIDE else 0,
    )


def lint_commands(root: Path) -> list[Command]:
    """The checks that read the sources and run nothing."""
    return [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("mypy", "--scripts-are-modules", *role_programs(root)),
        ("lint-imports", "--no-cache"),
        ("yamllint", "--strict", "."),
        ("shellcheck", *shell_scripts(root)),
        ("ansible-lint", "--offline"),
    ]


def bench_commands() -> list[Command]:
    """A short bench, and its figures beside those that were committed.

    Times, CPU and rates repeat to 1 % in virtual time. Idle memory repeats to 7 %: the guest counts
    it in whole slabs and pages, of which each processor keeps some for itself.
    """
    bounds = ("--ratio", "1.03", "--memory-ratio", "1.15")
    bench = (sys.executable, "-m", "ktcp_testbed", "bench")
    sizes = ("--size", "10k", "--size", "1m", "--runs", "5")
    ways = ("--way", "e2e", "--way", "ktcp-tp-es", "--way", "ktcp")
    costs = ("--cost", "ktcp", "--cost", "haproxy-splice", "--idle", "1000", "--set-ups", "0")
    return [
        (*bench, "paper", "--name", "short", *sizes, *ways, *costs),
        (*bench, "compare", BASELINE, "build/bench/short", *bounds),
    ]


def role_programs(root: Path) -> list[str]:
    """The Python programs that roles install; they have no suffix that mypy would find."""
    return sorted(str(path.relative_to(root)) for path in root.glob("roles/*/files/ktcp-*"))


def shell_scripts(root: Path) -> list[str]:
    """The shell scripts of the checkout, committed or not, relative to `root`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    names = sorted({name for name in listing.stdout.split("\0") if name})
    return [name for name in names if is_shell_script(root / name)]


def is_shell_script(path: Path) -> bool:
    """True for a file whose first line names a POSIX shell."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(128)
    # Either #!/bin/sh -eu or #!/usr/bin/env sh
    return first.startswith(b"#!") and not SHELLS.isdisjoint(first.split(b"/")[-1].split()[:2])


def choose(phases: Sequence[Phase], words: Sequence[str]) -> list[Phase]:
    """The phases that `words` name, by phase, by group or by `all`, in the order of running.

    Without words, all phases that are not `extended`.

    Raises:
        ValueError: A word names nothing; the message lists the names.
    """
    if not words:
        return [p for p in phases if EXTENDED not in p.groups]
    known = {"all", EXTENDED}.union(*({p.name, *p.groups} for p in phases))
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"no phase {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    return [p for p in phases if {"all", p.name, *p.groups} & set(words)]
