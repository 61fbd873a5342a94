# SPDX-License-Identifier: GPL-2.0-only
"""The module without one of its defences at a time: do the tests that guard it fail?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_ops.kbuild import buildroot, kmodule
from ktcp_ops.lab.guest import Guest
from tests.harness.defences import DEFENCES, Defence
from tests.harness.suite import REMOTE, Plan, booted, stock_tree, stream

# What pytest ends with: all passed, some failed.
PASSED, FAILED = 0, 1
# The tests of one defence, those that then wait in vain included.
BOUND_S = 900


def choose(names: Sequence[str]) -> list[Defence]:
    """The defences whose name contains one of `names`; all of them for none.

    Raises:
        KtcpError: A name is in none.
    """
    unknown = [name for name in names if not any(name in d.name for d in DEFENCES)]
    if unknown:
        known = "".join(f"\n  {d.name}" for d in DEFENCES)
        raise KtcpError(f"no defence {unknown[0]!r}; there are:{known}")
    return [d for d in DEFENCES if not names or any(name in d.name for name in names)]


def take_away(defence: Defence, kmod: Path) -> None:
    """Change the sources in `kmod` so that the defence is gone.

    Raises:
        KtcpError: Its line is not there, or more than once: tests/harness/defences.py is old.
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


def tests_fail(vm: Guest, plan: Plan, module: Path, expression: str) -> bool:
    """Run tests with a module: True when some fail, False when all pass.

    Raises:
        KtcpError: It did not come to that.
    """
    # Or the tests would find the one before.
    vm.run("if [ -e /sys/module/ktcp ]; then rmmod ktcp; fi", timeout=120, check=True)
    vm.put(module, f"{REMOTE}/{module.name}")
    # The first that fails is enough, and some wait long for what does not come.
    first = replace(plan, only=expression, options=("-x",))
    code = stream(vm, first.pytest(), bound_s=BOUND_S)
    if code not in {PASSED, FAILED}:
        raise KtcpError(f"pytest ended with {code} for -k {expression!r}")
    return code == FAILED


def run(plan: Plan, names: Sequence[str]) -> int:
    """Take each defence away and run its tests, in one guest.

    Returns:
        0, or 1 when tests pass without the defence that they guard, or fail with all of them.

    Raises:
        KtcpError: A module does not build, or the guest died.
    """
    chosen = choose(names)
    plan.directory.mkdir(parents=True, exist_ok=True)
    root = buildroot.ensure(plan.release)
    tree = stock_tree(plan, root)
    kmodule.copy_sources(plan.checkout, plan.directory)

    def build() -> Path:
        return kmodule.rebuild(root, plan.directory, tree, options=(kmodule.SELFTEST,))

    whole = build()
    with booted(plan) as vm:
        vm.put(plan.checkout / "tests" / "kernel", f"{REMOTE}/tests/kernel")
        everything = " or ".join(defence.tests for defence in chosen)
        if tests_fail(vm, plan, whole, everything):
            raise KtcpError("the tests fail with all defences in place: mend that first")
        unproved = [d for d in chosen if not is_guarded(vm, plan, build, d)]
    for defence in unproved:
        console.print_error(f"no test fails without it: {defence.name} (-k {defence.tests!r})")
    console.print_note(f"{len(chosen) - len(unproved)} of {len(chosen)} defences have their test")
    return 1 if unproved else 0


def is_guarded(vm: Guest, plan: Plan, build: Callable[[], Path], defence: Defence) -> bool:
    """True when a test fails once the defence is taken away."""
    console.print_note(f"without this: {defence.name}")
    with taken_away(defence, plan.directory / "kmod"):
        return tests_fail(vm, plan, build(), defence.tests)
