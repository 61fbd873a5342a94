# SPDX-License-Identifier: GPL-2.0-only
"""`python -m ktcp_testbed.demo`: the options of `./dev demo`, and errors turned into exit codes."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_ops.signals import interrupt
from ktcp_testbed.demo import picture
from ktcp_testbed.demo.results import Results, busy
from ktcp_testbed.demo.session import Session
from ktcp_testbed.demo.tables import tables

CHECKOUT = Path(__file__).resolve().parents[2]
# On a quiet host, the time to first byte is this close to what distance alone explains.
EXACT = 0.03


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; returns the exit code."""
    options = parse(arguments)
    lab = Path(os.environ.get("KTCP_LAB_DIR", "build/lab")).resolve()
    session = Session(
        checkout=CHECKOUT, lab=lab, release=options.release, runs=options.runs, keep=options.keep
    )
    try:
        results = session.measure()
        files = write(results, CHECKOUT / "build" / "demo")
    except KtcpError as error:
        # A clean-up that fails must not hide what went wrong before it.
        if isinstance(error.__context__, KtcpError):
            console.print_error(error.__context__.message)
        console.print_error(error.message)
        return int(error.exit_code)
    except KeyboardInterrupt:
        console.print_error("interrupted")
        return int(ExitCode.INTERRUPTED)
    present(results, files)
    if options.keep:
        console.print_note(kept(lab))
    return int(ExitCode.OK)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; if it is wrong, the program ends with 2."""
    parser = argparse.ArgumentParser(
        prog="./dev demo",
        description="Roll a mesh out to a lab of four virtual machines and measure downloads.",
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument(
        "--release",
        choices=["bookworm", "trixie"],
        default="trixie",
        help="Debian release of the guests (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=positive,
        default=5,
        metavar="N",
        help="downloads of each size each way (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def write(results: Results, directory: Path) -> list[Path]:
    """Write results.json and the picture; returns the files.

    Raises:
        KtcpError: The directory cannot be written to.
    """
    file = directory / "results.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return [file, *picture.draw(results, directory)]
    except OSError as error:
        raise KtcpError(f"the results could not be written: {error}") from error


def present(results: Results, files: Sequence[Path]) -> None:
    """Print the tables, and where the rest is."""
    for table in tables(results):
        console.print_line(f"\n{table.title}")
        console.print_table(table.columns, table.rows)
    console.print_line("")
    for file in files:
        console.print_line(str(file))
    console.print_note(trust(results))


def trust(results: Results) -> str:
    """Say how exact the figures are, as the routed downloads show."""
    share = busy(results.comparisons)
    if share <= EXACT:
        return f"\nRouted first bytes are within {share:.1%} of the model."
    return (
        f"\nRouted first bytes are up to {share:.0%} off the model: this host was too busy to run "
        "four guests in time, and all figures suffer from that."
    )


def kept(lab: Path) -> str:
    """Say what can be done with a lab that was left up."""
    return f"""
The lab is still up. Look around:
  ./dev lab ssh rc
  ./dev lab ssh rc cat /proc/net/ktcp/splits
  ./dev lab ssh client curl -so /dev/null -w '%{{time_total}}\\n' http://10.77.3.2/1m
  ssh -F {lab}/ssh_config rs grep . /proc/net/ktcp/stats
Take it down with: ./dev lab down"""


if __name__ == "__main__":
    # Whatever ends us, the lab is not left behind.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    # A shell starts background programs with SIGINT ignored, but we are ended by SIGINT, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
