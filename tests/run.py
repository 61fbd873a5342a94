# SPDX-License-Identifier: GPL-2.0-only
"""Runs the tests phase by phase and reports how each one ended and how long it took.

`./dev test` calls this once the Python environment is in place. A failed phase does not stop later
ones: one run reports everything that is wrong.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import IO

from tests import beside, judged, phases
from tests.beside import Outcome, log_name
from tests.judged import Tree
from tests.phases import Command, Phase
from tests.process import stop

ROOT = Path(__file__).resolve().parent.parent
# How much of a failed phase's output the report repeats.
LAST_LINES = 25


def run_phase(phase: Phase, *, root: Path, logs: Path) -> Outcome:
    """Run all commands of a phase in `root`; their output is shown and kept in `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    deadline = started + phase.minutes * 60
    failures = []
    with (logs / f"{log_name(phase.name)}.log").open("wb") as log:
        for command in phase.commands:
            failure = run_command(command, root=root, log=log, deadline=deadline)
            if failure:
                failures.append(failure)
    return Outcome(phase.name, time.monotonic() - started, tuple(failures))


def run_command(command: Command, *, root: Path, log: IO[bytes], deadline: float) -> str:
    """Run one command until `deadline` on the monotonic clock; return why it failed, or ''."""
    shown = shorten(command)
    say(f"--- {shown}")
    try:
        # A session of its own, so that one signal reaches all that the command started.
        process = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return f"{shown}: {error.strerror}"
    # A daemon thread, so that a leftover process that holds the pipe open does not block us.
    copier = threading.Thread(target=copy_output, args=(process.stdout, log), daemon=True)
    copier.start()
    try:
        code = process.wait(timeout=max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return f"{shown}: not done when the time of the phase was up"
    finally:
        stop(process)
        copier.join(timeout=5)
    return f"{shown}: exit code {code}" if code else ""


def copy_output(source: IO[bytes], log: IO[bytes]) -> None:
    """Copy what a command prints, as it comes, to the terminal and to `log`."""
    with source:
        while chunk := os.read(source.fileno(), 65536):
            log.write(chunk)
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def shorten(command: Command) -> str:
    """A command as one would type it: without the interpreter's path or a long list of files."""
    words = ["python" if word == sys.executable else word for word in command]
    return shlex.join(words if len(words) <= 7 else [*words[:6], "..."])


def say(line: str) -> None:
    """Print a line of our own between the lines of the commands."""
    print(line, flush=True)


def report(outcomes: Sequence[Outcome], *, seconds: float, logs: Path) -> None:
    """Print a line a phase and, last, how many passed and failed."""
    say("")
    for outcome in outcomes:
        verdict = "FAILED" if outcome.failures else "passed"
        say(f"{verdict}  {outcome.name:<20} {clock(outcome.seconds):>8}")
        for failure in outcome.failures:
            say(f"        {failure}")
        if outcome.failures:
            for line in last_lines(logs / f"{log_name(outcome.name)}.log"):
                say(f"        | {line}")
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    say(f"All took {clock(seconds)}; their output is in {logs}")
    say(f"{len(outcomes) - failed} passed, {failed} failed")


def last_lines(log: Path) -> list[str]:
    """The end of a log, where most programs say what was wrong."""
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]


def clock(seconds: float) -> str:
    """A duration as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__.splitlines()[0])
    parser.add_argument(
        "phase",
        nargs="*",
        help="a phase, or a group: quick, fast, kernel, molecule, extended, all; "
        "without one, all that is not extended",
    )
    parser.add_argument("--outcomes", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="name the phases and end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the phases that the command line names; 0 when all passed."""
    options = parse(arguments)
    every = phases.every(ROOT)
    # Without a word the list has all phases.
    words = options.phase or (["all"] if options.list else [])
    try:
        chosen = phases.choose(every, words)
    except ValueError as error:
        print(f"./dev test: {error}", file=sys.stderr)
        return 2
    if options.list:
        for phase in chosen:
            say(f"{phase.name:<20} {', '.join(sorted(phase.groups))}")
        return 0

    # Molecule keeps its state below this, by the checkout's base name; two checkouts with the same
    # name must not share it.
    os.environ["ANSIBLE_HOME"] = str(ROOT / "build" / "ansible")
    logs = ROOT / "build" / "tests"
    started = time.monotonic()
    before = judged.tree(ROOT)
    if not words and len(chosen) < len(every):
        left_out = ", ".join(phase.name for phase in every if phase not in chosen)
        say(f"=== left to ./dev test extended: {left_out}")
    outcomes = run_phases(chosen, root=ROOT, logs=logs)
    if options.outcomes:
        beside.write_outcomes(options.outcomes, outcomes)
        return int(any(outcome.failures for outcome in outcomes))
    report(outcomes, seconds=time.monotonic() - started, logs=logs)
    return conclude(before, outcomes, whole=not words, logs=logs)


def conclude(before: Tree, outcomes: Sequence[Outcome], *, whole: bool, logs: Path) -> int:
    """Print what was judged, and record it if it is green. Returns the exit code."""
    after = judged.tree(ROOT)
    passed = not any(outcome.failures for outcome in outcomes)
    say(f"Judged: {judged.judged(before, after)}")
    if judged.is_green(before, after, whole=whole, passed=passed):
        judged.write_green(logs / "green", after.commit)
    return int(not passed)


def run_phases(chosen: Sequence[Phase], *, root: Path, logs: Path) -> list[Outcome]:
    """Run phases, some beside others. Returns how each one ended."""
    first, *others = beside.lanes(chosen) or [[]]
    with ExitStack() as stack:
        stack.enter_context(beside.working_ahead(chosen, root=root, logs=logs))
        runners = []
        for lane in others:
            runners.append(stack.enter_context(beside.running(lane, root=root, logs=logs)))
            say(f"=== beside the others: {', '.join(phase.name for phase in lane)}")
            say("    (what they print is shown when the others are done)")
        outcomes = []
        for number, phase in enumerate(first, start=1):
            say(f"=== {number}/{len(first)} {phase.name}")
            outcomes.append(run_phase(phase, root=root, logs=logs))
        for runner in runners:
            outcomes += runner.wait()
        return outcomes


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Treat a signal as Ctrl-C: both stop the running phase and end with its clean-up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    # A shell's background jobs ignore SIGINT, but our phases are ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("./dev test: interrupted", file=sys.stderr)
        sys.exit(130)
