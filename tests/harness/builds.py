# SPDX-License-Identifier: GPL-2.0-only
"""kmod/ with the other kernels that relays run: compiled for all, and run in the latest."""

import re
from pathlib import Path

from ktcp_ops import console
from ktcp_testbed.kbuild import kernels
from ktcp_testbed.lab.recipe import RELEASES, Release
from tests.harness import suite
from tests.harness.lint import compile_findings
from tests.harness.smoke import SMOKE

# A guest runs the smoke tests in the latest kernel. Their run compiles the module with the same
# warnings, so here it is not compiled for that kernel.
LATEST: tuple[Release, str] = ("trixie", "cloud-backports")


def run(checkout: Path) -> int:
    """Compile kmod/, print what the compilers say, and run the smoke tests.

    Returns:
        The number of findings and of failed runs.

    Raises:
        KtcpError: The module does not compile for the latest kernel, or its guest died.
    """
    found = [line for release in RELEASES for line in findings(checkout, release)]
    for line in found:
        console.print_line(line.replace("/work/kmod/", "kmod/"))
    return len(found) + suite.run(plan(checkout))


def plan(checkout: Path) -> suite.Plan:
    """The smoke tests in the latest kernel."""
    release, kernel = LATEST
    return suite.Plan(checkout=checkout, release=release, kernel=kernel, label="smoke", tests=SMOKE)


def findings(checkout: Path, release: Release) -> list[str]:
    """Warnings of the compilers, for a release's other kernels but the latest."""
    root = kernels.ensure(release)
    work = checkout / "build" / "harness" / f"builds-{release}"
    there = root.kernel_releases()
    if len(there) != len(kernels.KERNELS[release]):
        return [f"{release}: headers of {there}, not of {len(kernels.KERNELS[release])} kernels"]
    found = [line for kernel in there for line in refusals(checkout, release, kernel)]
    if release == LATEST[0]:
        there.remove(kernels.bootable(root, LATEST[1]).release)
    for kernel in there:
        console.print_note(f"kmod: W=1 for {release}, {kernel}")
        options = kernels.target(kernel)
        found += compile_findings(checkout, root, work, kernel, options=options)
    return found


def refusals(checkout: Path, release: Release, kernel: str) -> list[str]:
    """A finding, if DKMS would not build the module for a kernel that it is made for."""
    text = (checkout / "kmod" / "dkms.conf").read_text(encoding="ascii")
    expression = text.partition('BUILD_EXCLUSIVE_KERNEL="')[2].partition('"')[0]
    if expression and re.search(expression, kernel):
        return []
    return [f"{release} {kernel}: dkms.conf's BUILD_EXCLUSIVE_KERNEL does not allow it"]
