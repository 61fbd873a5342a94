# SPDX-License-Identifier: GPL-2.0-only
"""Compiles ktcp.ko, and the modules that test parts of it, in a build root."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild.buildroot import Buildroot

# For make: also build the modules that test parts of ktcp.ko; no relay gets them.
SELFTEST = "KTCP_SELFTEST=m"
SOURCES = ("*.c", "*.h", "*.S", "Kbuild*", "Makefile", ".clang-format")


def copy_sources(checkout: Path, work: Path) -> None:
    """Copy the module's sources to `work`/kmod, without files that a compiler left there."""
    target = work / "kmod"
    shutil.rmtree(target, ignore_errors=True)
    origin = checkout / "kmod"
    for path in sorted(p for pattern in SOURCES for p in origin.rglob(pattern)):
        if path.is_file() and not path.name.endswith(".mod.c"):
            copy = target / path.relative_to(origin)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def make(
    buildroot: Buildroot,
    work: Path,
    tree: str,
    *,
    kernel: Path | None = None,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Compile `work`/kmod.

    Args:
        buildroot: Where the compiler is.
        work: A directory of the host, seen as /work.
        tree: The kernel's build tree, as seen in the build root.
        kernel: A directory of the host, seen as /kernel.
        options: More words for make.
    """
    command = ["make", "-j2", "-C", tree, "M=/work/kmod", *options, "modules"]
    return subprocess.run(
        buildroot.command(command, work, kernel=kernel),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def build(
    checkout: Path,
    buildroot: Buildroot,
    work: Path,
    tree: str,
    *,
    kernel: Path | None = None,
    options: Sequence[str] = (),
) -> Path:
    """Compile the module of the checkout; the arguments are those of make().

    Raises:
        KtcpError: The compiler found a mistake; the message is its output.
    """
    copy_sources(checkout, work)
    strict = ("W=1", "KCFLAGS=-Werror")
    return rebuild(buildroot, work, tree, kernel=kernel, options=(*strict, *options))


def rebuild(
    buildroot: Buildroot,
    work: Path,
    tree: str,
    *,
    kernel: Path | None = None,
    options: Sequence[str] = (),
) -> Path:
    """Compile what has changed in `work`/kmod; the arguments are those of make().

    Raises:
        KtcpError: The compiler found a mistake; the message is its output.
    """
    done = make(buildroot, work, tree, kernel=kernel, options=options)
    module = work / "kmod" / "ktcp.ko"
    if done.returncode or not module.exists():
        raise KtcpError(f"ktcp.ko does not build with {tree}\n{done.stdout}")
    return module
