# SPDX-License-Identifier: GPL-2.0-only
"""Programs that are compiled for the guest's release: micro-measurements and a rival."""

import shutil
import subprocess
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild.buildroot import Buildroot

SOURCES = Path(__file__).parent
PROGRAMS = ("micro", "sockmap")
MODULE = "ktcp_micro.ko"
COMPILE = """
set -eu
cd programs
make -C "$1" M=/work/programs modules
shift
for each; do
	gcc -O2 -Wall -Wextra -Werror -pthread -o "$each" "$each.c"
done
"""


def build(buildroot: Buildroot, work: Path, tree: str) -> list[Path]:
    """Compile the programs and the module; returns all of them.

    Args:
        buildroot: Where the compiler is.
        work: A directory of the host, seen as /work.
        tree: The kernel's build tree, as seen in the build root.

    Raises:
        KtcpError: The compiler found a mistake; the message is its output.
    """
    place = work / "programs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for source in (*SOURCES.glob("*.c"), SOURCES / "Kbuild"):
        shutil.copy2(source, place)
    command = ["sh", "-c", COMPILE, "sh", tree, *PROGRAMS]
    done = subprocess.run(
        buildroot.command(command, work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KtcpError(f"the programs of the bench do not build\n{done.stdout}")
    return [place / name for name in (*PROGRAMS, MODULE)]
