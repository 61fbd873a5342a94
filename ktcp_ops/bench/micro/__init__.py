# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the micro-measurements, which are compiled for the guest's release."""

import shutil
import subprocess
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_ops.kbuild.buildroot import Buildroot

SOURCES = Path(__file__).parent
PROGRAM = "micro"
MODULE = "ktcp_micro.ko"
COMPILE = 'make -C "$1" M=/work/micro modules && gcc -O2 -Wall -Werror -pthread -o micro micro.c'


def build(buildroot: Buildroot, work: Path, tree: str) -> list[Path]:
    """Compile the program and the module; returns both.

    Args:
        buildroot: Where the compiler is.
        work: A directory of the host, seen as /work.
        tree: The kernel's build tree, as seen in the build root.

    Raises:
        KtcpError: The compiler found a mistake; the message is its output.
    """
    place = work / "micro"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for source in (*SOURCES.glob("*.c"), SOURCES / "Kbuild"):
        shutil.copy2(source, place)
    command = ["sh", "-c", f"cd micro && {COMPILE}", "sh", tree]
    done = subprocess.run(
        buildroot.command(command, work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KtcpError(f"the micro-measurements do not build\n{done.stdout}")
    return [place / PROGRAM, place / MODULE]
