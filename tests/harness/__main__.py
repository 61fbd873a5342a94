# SPDX-License-Identifier: GPL-2.0-only
"""python -m tests.harness lint | builds | run [-k EXPRESSION] | without [DEFENCE...] | prepare."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_ops.signals import interrupt
from ktcp_testbed.kbuild import buildroot, kernels
from ktcp_testbed.lab.recipe import RELEASES
from tests.harness import builds, debug_kernel, lint, suite, without
from tests.harness.smoke import SMOKE

CHECKOUT = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("lint", help="check kmod/ with the headers of every release")
    commands.add_parser("builds", help="kmod/ with kernels of clouds, of backports, of arm64")
    run = commands.add_parser("run", help="run tests/kernel in a guest")
    bare = commands.add_parser(
        "without", help="take one defence of the module away at a time: its tests have to fail"
    )
    bare.add_argument("defences", nargs="*", metavar="DEFENCE", help="part of its name")
    bare.add_argument("--release", choices=RELEASES, default="trixie")
    prepare = commands.add_parser("prepare", help="fill the cache, run nothing")
    for command in (run, prepare):
        command.add_argument("--release", choices=RELEASES, default="trixie")
        kernel = command.add_mutually_exclusive_group()
        kernel.add_argument(
            "--checker", choices=debug_kernel.CHECKERS, help="in the debug kernel that has it"
        )
        if command is run:
            kernel.add_argument("--kernel", choices=kernels.BOOTABLE, help="not the image's own")
    run.add_argument("--family", choices=("v4", "v6"), help="only this one, where both are tried")
    run.add_argument("-k", dest="only", metavar="EXPRESSION", help="as pytest's")
    run.add_argument(
        "--fuzz", type=int, default=400, metavar="N", help="inputs of each fuzz test (%(default)s)"
    )
    run.add_argument(
        "--rounds",
        type=int,
        default=1,
        metavar="N",
        help="how many times as often modules, namespaces and configuration come and go",
    )
    run.add_argument("--smoke", action="store_true", help="only a dozen tests, one of each kind")
    run.add_argument(
        "--share", metavar="N/M", type=share, help="each Mth test from the Nth on, as 1/2 and 2/2"
    )
    run.add_argument("-x", dest="stop", action="store_true", help="stop at the first failure")
    return top


def share(words: str) -> str:
    """Check that the text is a share, N/M.

    Raises:
        ValueError: It is no share.
    """
    number, _, count = words.partition("/")
    if not 1 <= int(number) <= int(count):
        raise ValueError(words)
    return words


def main(argv: Sequence[str]) -> int:
    """Run a command. Returns the exit code."""
    words = parser().parse_args(argv)
    # No guest is left behind.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return carry_out(words)
    except KtcpError as error:
        console.print_error(error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def carry_out(words: argparse.Namespace) -> int:
    """Run the parsed command."""
    if words.command == "lint":
        return 1 if lint.run(CHECKOUT) else 0
    if words.command == "builds":
        return 1 if builds.run(CHECKOUT) else 0
    if words.command == "prepare":
        root = buildroot.ensure(words.release)
        if words.checker:
            debug_kernel.ensure(root, words.checker)
        return 0
    if words.command == "without":
        plan = suite.Plan(checkout=CHECKOUT, release=words.release, label="without")
        return without.run(plan, words.defences)
    plan = suite.Plan(
        checkout=CHECKOUT,
        release=words.release,
        checker=words.checker,
        kernel=words.kernel,
        only=words.only,
        family=words.family,
        fuzz=words.fuzz,
        rounds=words.rounds,
        options=("-x",) if words.stop else (),
        label="smoke" if words.smoke else None,
        tests=SMOKE if words.smoke else (),
        share=words.share,
    )
    return suite.run(plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
