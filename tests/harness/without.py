# SPDX-License-Identifier: GPL-2.0-only
"""The module without one of its defences at a time: do the tests that guard it fail?"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import buildroot, kmodule
from tests.harness.defences import DEFENCES, Defence
from tests.harness.suite import Part, Plan, boot, part_of, stock_tree

# Exit codes of pytest: all passed, some failed.
PASSED, FAILED = 0, 1
# The name of the module with all its defences.
WHOLE = "whole"


def choose(names: Sequence[str]) -> list[Defence]:
    """The defences whose names contain one of `names`; without names, all of them.

    Raises:
        KtcpError: A name matches no defence.
    """
    unknown = [name for name in names if not any(name in d.name for d in DEFENCES)]
    if unknown:
        known = "".join(f"\n  {d.name}" for d in DEFENCES)
        raise KtcpError(f"no defence {unknown[0]!r}; there are:{known}")
    return [d for d in DEFENCES if not names or any(name in d.name for name in names)]


def take_away(defence: Defence, kmod: Path) -> None:
    """Remove the defence from the sources in `kmod`.

    Raises:
        KtcpError: Its line is missing or ambiguous, so tests/harness/defences.py is out of date.
    """
    path = kmod / defence.file
    text = path.read_text(encoding="utf-8")
    if text.count(defence.line) != 1:
        raise KtcpError(
            f"{defence.name}: kmod/{defence.file} has its line {text.count(defence.line)} times; "
            "see tests/harness/defences.py"
        )
    path.write_text(text.replace(defence.line, defence.without), encoding="utf-8")


@contextmanager
def taken_away(defence: Defence, kmod: Path) -> Iterator[None]:
    """Within this block the sources in `kmod` lack the defence."""
    path = kmod / defence.file
    whole = path.read_text(encoding="utf-8")
    take_away(defence, kmod)
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")


def built(defence: Defence, plan: Plan, root: buildroot.Buildroot, tree: str) -> Part:
    """The tests of a defence, with a module that lacks it.

    Raises:
        KtcpError: It does not build.
    """
    console.print_note(f"without this: {defence.name}")
    with taken_away(defence, plan.directory / "kmod"):
        module = kmodule.rebuild(root, plan.directory, tree, options=(kmodule.SELFTEST,))
    # The first failure is enough, and some tests wait long for what does not come.
    first = replace(plan, only=defence.tests, options=("-x",))
    return part_of(first, kept(module, plan.directory / str(DEFENCES.index(defence))), defence.name)


def kept(module: Path, place: Path) -> Path:
    """Copy a compiled module, and those that were compiled with it, to `place`."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in module.parent.glob("*.ko"):
        shutil.copy2(file, place)
    return place / module.name


def run(plan: Plan, names: Sequence[str]) -> int:
    """Remove each defence and run its tests, all in one guest.

    Returns:
        0, or 1 if tests pass without the defence that they guard, or fail with all defences.

    Raises:
        KtcpError: A module does not build, or the guest died.
    """
    chosen = choose(names)
    plan.directory.mkdir(parents=True, exist_ok=True)
    root = buildroot.ensure(plan.release)
    tree = stock_tree(plan, root)
    kmodule.copy_sources(plan.checkout, plan.directory)
    whole = kmodule.rebuild(root, plan.directory, tree, options=(kmodule.SELFTEST,))
    everything = replace(plan, only=" or ".join(d.tests for d in chosen), options=("-x",))
    parts = [part_of(everything, kept(whole, plan.directory / WHOLE), WHOLE)]
    parts += [built(defence, plan, root, tree) for defence in chosen]
    unproved = judge(boot(plan, parts).codes, chosen)
    for defence in unproved:
        console.print_error(f"no test fails without it: {defence.name} (-k {defence.tests!r})")
    console.print_note(f"{len(chosen) - len(unproved)} of {len(chosen)} defences have their test")
    return 1 if unproved else 0


def judge(codes: Mapping[str, int], chosen: Sequence[Defence]) -> list[Defence]:
    """The defences without which their tests pass.

    Args:
        codes: pytest's exit codes, by the name of the removed defence.
        chosen: The defences.

    Raises:
        KtcpError: The tests could not run, or they fail with all defences in place.
    """
    if codes.get(WHOLE) == FAILED:
        raise KtcpError("the tests fail with all defences in place: mend that first")
    for name in (WHOLE, *(defence.name for defence in chosen)):
        if codes.get(name) not in {PASSED, FAILED}:
            raise KtcpError(f"pytest ended with {codes.get(name)} for: {name}")
    return [defence for defence in chosen if codes[defence.name] == PASSED]
