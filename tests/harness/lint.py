# SPDX-License-Identifier: GPL-2.0-only
"""Runs compilers and checkers over kmod/, with each release's own headers."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_testbed.kbuild import buildroot, kmodule
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.lab.recipe import RELEASES

# Every line that W=1 and sparse print about our files is a finding; lines of the compiler and of
# the kernel's build begin differently.
OURS = "/work/kmod/"
# For make: sparse reads each file too.
SPARSE = ("C=2", "CHECK=sparse")
# checkpatch learns camelcase from a kernel tree, which is not here; the maintainers file is the
# kernel's.
CHECKPATCH = (
    "--no-tree",
    "--strict",
    "--terse",
    "--show-types",
    "--max-line-length=100",
    "--ignore",
    "FILE_PATH_CHANGES,LINUX_VERSION_CODE",
)


def compile_findings(
    checkout: Path, root: Buildroot, work: Path, kernel: str, *, options: Sequence[str] = SPARSE
) -> list[str]:
    """Warnings of the compiler, and by default of sparse, with the headers of a kernel."""
    kmodule.copy_sources(checkout, work)
    done = kmodule.make(
        root,
        work,
        f"/lib/modules/{kernel}/build",
        options=(kmodule.SELFTEST, "W=1", "KCFLAGS=-Werror", *options),
    )
    lines = done.stdout.splitlines()
    found = [line for line in lines if is_finding(line)]
    if done.returncode and not found:
        found = lines
    return [f"{root.release} {kernel}: {line}" for line in found]


def is_finding(line: str) -> bool:
    """True for a line of compiler or sparse that reports a problem."""
    return any(word in line for word in (" warning: ", " error: ", "WARNING: ", "ERROR: "))


def checkpatch_findings(root: Buildroot, work: Path) -> list[str]:
    """Findings of checkpatch --strict in the sources at `work`/kmod."""
    files = sorted(
        f"/work/{path.relative_to(work)}"
        for pattern in ("*.c", "*.h")
        for path in (work / "kmod").rglob(pattern)
        if not path.name.endswith(".mod.c")
    )
    command = ["/usr/src/tools/scripts/checkpatch.pl", *CHECKPATCH, "-f", *files]
    done = subprocess.run(root.command(command, work), capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line and not line.startswith("total: ")]


def format_findings(checkout: Path) -> list[str]:
    """Files that clang-format would change, if kmod/ has its configuration."""
    if not (checkout / "kmod" / ".clang-format").exists():
        return []
    tool = shutil.which("clang-format", path=str(Path(sys.executable).parent)) or "clang-format"
    files = sorted(str(p) for pattern in ("*.c", "*.h") for p in (checkout / "kmod").rglob(pattern))
    done = subprocess.run(
        [tool, "--dry-run", "--Werror", "--style=file", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if "error:" in line]


def run(checkout: Path) -> int:
    """Check kmod/ and print the findings. Returns their number."""
    found = format_findings(checkout)
    for release in RELEASES:
        root = buildroot.ensure(release)
        work = checkout / "build" / "harness" / f"lint-{release}"
        kernels = root.kernel_releases()
        if not kernels:
            found.append(f"{release}: no kernel's headers in the build root: nothing was compiled")
        for kernel in kernels:
            console.print_note(f"kmod: W=1 and sparse for {release}, {kernel}")
            found += compile_findings(checkout, root, work, kernel)
    console.print_note("kmod: checkpatch --strict")
    kmodule.copy_sources(checkout, work)
    found += checkpatch_findings(root, work)
    for line in found:
        console.print_line(line.replace("/work/kmod/", "kmod/"))
    return len(found)
