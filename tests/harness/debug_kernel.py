# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that find a module's mistakes.

There are two, since KASAN and KCSAN exclude each other: `kasan`, which also has lockdep,
kmemleak and fault injection, and `kcsan`. Each is compiled from the release's own source,
with debug-kernel.config and options of its own on top of tinyconfig. That takes some
minutes, once; the cache keeps the image and all that is needed to compile modules for it.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import cached, progress
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.kbuild.privilege import as_root

CHECKERS = ("kasan", "kcsan")
CONFIG = Path(__file__).with_name("debug-kernel.config")

CONFIGURE = """
set -eu
cd linux
make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config ../ktcp.config >/dev/null
make -s olddefconfig
"""
COMPILE = "cd linux && exec make -j2 bzImage modules"
# Files that are needed to compile modules; the other 2 GiB are deleted.
KEEP = """
set -eu
cd linux
mv arch/x86/boot/bzImage ../bzImage
find . -mindepth 1 -maxdepth 1 ! -name arch ! -name scripts ! -name include ! -name tools \
    ! -name Makefile ! -name Kbuild ! -name Kconfig ! -name .config ! -name Module.symvers \
    -exec rm -rf {} +
find arch -mindepth 1 -maxdepth 1 ! -name x86 ! -name Kconfig -exec rm -rf {} +
find tools -mindepth 1 -maxdepth 1 ! -name objtool ! -name include ! -name build ! -name scripts \
    -exec rm -rf {} +
find arch include -name '*.o' -delete
"""


@dataclass(frozen=True, kw_only=True)
class DebugKernel:
    """A compiled kernel."""

    directory: Path

    @property
    def image(self) -> Path:
        """The kernel image that QEMU boots."""
        return self.directory / "bzImage"

    @property
    def initrd(self) -> None:
        """The drivers of the guests' disk are built in."""
        return

    @property
    def tree(self) -> Path:
        """The tree that modules are compiled with."""
        return self.directory / "linux"


def wanted_config(checker: str) -> str:
    """The options on top of tinyconfig for one of CHECKERS."""
    files = (CONFIG, CONFIG.with_name(f"{checker}.config"))
    return "\n".join(file.read_text(encoding="ascii") for file in files)


def ensure(buildroot: Buildroot, checker: str) -> DebugKernel:
    """The kernel with one of CHECKERS, compiled if the cache has none.

    Raises:
        KtcpError: It cannot be configured as wanted, or does not compile.
    """
    source = buildroot.sources()
    scripts = (CONFIGURE, COMPILE, KEEP)
    config = wanted_config(checker)
    key = cached.key_of(config.encode(), *scripts, buildroot.root.parent.name)
    name = f"{checker}-kernel-{buildroot.release}-{key}"
    return DebugKernel(
        directory=cached.directory(name, lambda place: make(buildroot, source, place, config))
    )


def make(buildroot: Buildroot, source: Path, place: Path, config: str) -> None:
    """Compile the kernel in `place`."""
    tree = place / "linux"
    tree.mkdir()
    (place / "ktcp.config").write_text(config, encoding="ascii")
    unpack = ["tar", "--strip-components=1", "-C", str(tree), "-xf", str(source)]
    subprocess.run([*as_root(), *unpack], check=True)
    run(buildroot, place, CONFIGURE, "debug kernel: configuring")
    check_config(tree / ".config", config)
    run(buildroot, place, COMPILE, "debug kernel: compiling, some minutes")
    run(buildroot, place, KEEP, "debug kernel: tidying up")


def run(buildroot: Buildroot, place: Path, script: str, what: str) -> None:
    """Run a script in the build root, `place` being its directory."""
    command = buildroot.command(["nice", "-n", "10", "sh", "-c", script], place)
    log = place.parent / f"{place.stem}.log"
    progress.logged(command, log=log, what=what)


def check_config(granted: Path, wanted: str) -> None:
    """Check the configuration, since Kconfig silently drops options that lack a dependency.

    Raises:
        KtcpError: A wanted option is not set; the message names all such options.
    """
    there = set(granted.read_text(encoding="ascii").splitlines())
    asked = [line for line in wanted.splitlines() if line.startswith("CONF")]
    missing = [line for line in asked if line not in there]
    if missing:
        raise KtcpError(f"{CONFIG.name}: Kconfig does not grant {', '.join(missing)}")
