# SPDX-License-Identifier: GPL-2.0-only
"""Runs other phases, and work for later ones, beside the phases on the terminal.

Tests in guests wait more than they compute, so two guests share two cores well.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.phases import Phase
from tests.process import stop

POLL_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """How a phase ended: `failures` holds a sentence for each command that failed."""

    name: str
    seconds: float
    failures: tuple[str, ...]


def log_name(phase: str) -> str:
    """The name of a phase's log, without its suffix."""
    return phase.replace(" ", "-")


@contextmanager
def working_ahead(chosen: Sequence[Phase], *, root: Path, logs: Path) -> Iterator[None]:
    """Beside the phases, at lower priority, make things that later phases would wait for.

    It may fail: a phase that finds nothing makes the things itself.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for phase in chosen:
            if phase.ahead is None:
                continue
            log = stack.enter_context((logs / f"{log_name(phase.name)}-ahead.log").open("wb"))
            process = subprocess.Popen(
                ("nice", "-n", "19", *phase.ahead),
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(stop, process)
        yield


def lanes(chosen: Sequence[Phase]) -> list[list[Phase]]:
    """The phases of each lane that has any; the first lane is for the terminal."""
    numbers = sorted({phase.lane for phase in chosen})
    return [[phase for phase in chosen if phase.lane == number] for number in numbers]


class Runner:
    """Runs phases in a process of its own, until somebody waits for it or leaves it."""

    def __init__(self, phases: Sequence[Phase], *, root: Path, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.phases = phases
        self.log = logs / f"lane-{phases[0].lane}.log"
        self.results = logs / f"lane-{phases[0].lane}.json"
        self.results.unlink(missing_ok=True)
        names = [phase.name for phase in phases]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.run", "--outcomes", str(self.results), *names],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> list[Outcome]:
        """Show its output until it ends. Returns how its phases ended."""
        with self.log.open("rb") as log:
            ended = False
            while not ended:
                ended = self.process.poll() is not None
                while chunk := log.read(65536):
                    os.write(sys.stdout.fileno(), chunk)
                time.sleep(0 if ended else POLL_S)
        return read_outcomes(self.results) or [
            Outcome(phase.name, 0, (f"its runner ended with {self.process.returncode}",))
            for phase in self.phases
        ]


@contextmanager
def running(phases: Sequence[Phase], *, root: Path, logs: Path) -> Iterator[Runner]:
    """Run phases beside the block; they end with it."""
    runner = Runner(phases, root=root, logs=logs)
    try:
        yield runner
    finally:
        stop(runner.process, levels=2)


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write how phases ended, for the runner that started this one."""
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes]), encoding="utf-8")


def read_outcomes(path: Path) -> list[Outcome]:
    """Read what `write_outcomes` wrote; empty if it wrote nothing."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Outcome(row["name"], row["seconds"], tuple(row["failures"])) for row in rows]
