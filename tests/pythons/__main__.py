# SPDX-License-Identifier: GPL-2.0-only
"""Runs tests of the operator's wheel in other Pythons: python -m tests.pythons [NAME...] [-k EXPR].

The wheel is unpacked beside the checkout's packages and before them, so the tests import ktcp_ops
from it. The chosen tests are those that reach into the dependencies: Ansible and ansible-runner
run, models are read, the command line is parsed, tables are drawn.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from tests.pythons.environment import PYTHONS, Python, ensure

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = Path("build/pythons")
TESTS = (
    # The others are slow, and reach into no other dependency.
    *(f"tests/unit/cli/test_{name}.py" for name in ("init", "main", "waves")),
    *(
        f"tests/unit/mesh/test_{name}.py"
        for name in ("cli", "console", "engine", "events", "inventory", "journal", "reader")
    ),
    "tests/unit/observe/test_watch.py",
)


def unpack_wheel(checkout: Path) -> None:
    """Build the wheel of the checkout, and unpack it."""
    work = checkout / WORK
    shutil.rmtree(work, ignore_errors=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    wheels = str(work / "wheel")
    subprocess.run([*build, wheels], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (work / "wheel").iterdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    where = ["--no-deps", "--no-index", "--target", str(work / "site")]
    subprocess.run([*pip, *where, str(wheel)], check=True)


def inside(options: Sequence[str]) -> list[str]:
    """The command for the inside, where the checkout is /work."""
    return [
        *("env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"),
        f"PYTHONPATH=/work/{WORK}/site:/work",
        # So that the checkout does not come before the wheel.
        "PYTHONSAFEPATH=1",
        "PYTHONPYCACHEPREFIX=/var/cache/python",
        *("python3", "-m", "pytest", "-q", "-o", "pythonpath=", "-p", "no:cacheprovider"),
        *options,
        *TESTS,
    ]


def try_out(python: Python, only: str | None) -> bool:
    """Run the tests in a Python. Returns whether all passed."""
    root = ensure(python, CHECKOUT)
    console.print_note(f"Python {python.version}, dependencies: {python.resolution}")
    options = [*python.options, *(("-k", only) if only else ())]
    command = root.command(inside(options), CHECKOUT)
    return subprocess.run(command, check=False).returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Run the tests in the Pythons that the command line names. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    names = [python.name for python in PYTHONS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("-k", dest="only", metavar="EXPRESSION", help="as pytest's")
    words = parser.parse_args(arguments)
    unknown = set(words.names) - set(names)
    if unknown:
        parser.error(f"no Python {unknown.pop()!r}; there are: {', '.join(names)}")
    try:
        unpack_wheel(CHECKOUT)
        chosen = [each for each in PYTHONS if not words.names or each.name in words.names]
        passed = [try_out(each, words.only) for each in chosen]
    except KtcpError as error:
        console.print_error(error.message)
        return error.exit_code
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
