# SPDX-License-Identifier: GPL-2.0-only
"""Records the session of docs/session.md anew: commands stay, their output is replaced.

python -m tests.unit.cli.session

Commands, inventory and journal are the real ones. Where a command would run Ansible on hosts, it
asks relays in memory.
"""

import contextlib
import io
import itertools
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from ktcp_ops.cli import main, workers
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.journal import journal
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run import inventory as run_inventory
from tests.unit.cli.relays import Relays

DOCUMENT = Path(__file__).parents[3] / "docs/session.md"
INDENT = "    "
PROMPT = f"{INDENT}$ "
HOME = "/home/ada"
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEP = timedelta(seconds=40)
"""The time that passes between two looks at the journal's clock."""


def commands(text: str) -> list[str]:
    """The commands of a document, in their order."""
    lines = text.splitlines()
    return [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]


def run(command: str) -> list[str]:
    """A command's output as a terminal shows it: both streams, and an exit code that is not 0."""
    program, *arguments = shlex.split(command)
    assert program == "ktcp-ops", command
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main.run(arguments)
    said = shown.getvalue().replace(str(Path.cwd()), HOME)
    # A log's name contains the time.
    lines = [line for line in said.splitlines() if not line.startswith("log: ")]
    return [*lines, *([f"(exit code {code})"] if code else [])]


def replayed(text: str, answers: Sequence[list[str]]) -> Iterator[str]:
    """The lines of a document, with the commands' output replaced, in their order."""
    in_session, left = False, iter(answers)
    for line in text.splitlines():
        if line.startswith(PROMPT):
            in_session = True
            yield line
            yield from (f"{INDENT}{said}".rstrip() for said in next(left))
        elif not (in_session and line.startswith(INDENT)):
            in_session = False
            yield line


def record(text: str, directory: Path) -> str:
    """Run a document's commands in an empty directory. Returns the document with their output."""
    environment = {"KTCP_STATE_DIR": str(directory / "state"), "COLUMNS": "100"}
    with (
        patch.dict(os.environ, environment),
        contextlib.chdir(directory),
        relays_in_memory(),
        a_journal_that_repeats(),
    ):
        answers = [run(command) for command in commands(text)]
    return "\n".join(replayed(text, answers)) + "\n"


@contextlib.contextmanager
def relays_in_memory() -> Iterator[None]:
    """Let commands work on relays in memory, which know the inventory that was read last.

    Ansible reads an inventory again only if a file of it has changed.
    """
    relays, load_all, export = Relays(), inventory.load_all, run_inventory.export
    known: dict[object, dict[str, Any]] = {}

    def read(names: Sequence[str]) -> dict[str, Any]:
        files = tuple(path for name in names for path in sorted(Path(name).rglob("*.yml")))
        key = tuple((path, path.read_bytes()) for path in files)
        if key not in known:
            known[key] = export(names)
        return known[key]

    def load(names: Sequence[str], name: str | None = None) -> tuple[Mesh, ...]:
        meshes = load_all(names, name)
        relays.mesh = meshes[0]
        return meshes

    with (
        patch.object(workers, "make_engine", lambda: relays),
        patch.object(inventory, "load_all", load),
        patch.object(run_inventory, "export", read),
    ):
        yield


@contextlib.contextmanager
def a_journal_that_repeats() -> Iterator[None]:
    """Let the journal know the same time, user, host and random numbers in each recording."""
    numbers = itertools.count(1)

    class Clock(datetime):
        """A clock that is ahead by a step with each look."""

        @classmethod
        def now(cls, _zone: tzinfo | None = None) -> datetime:  # type: ignore[override]
            """Give the time."""
            return BEGIN + next(numbers) * STEP

    with (
        patch.object(journal, "datetime", Clock),
        patch.object(journal, "who", lambda: "ada"),
        patch.object(journal, "socket", SimpleNamespace(gethostname=lambda: "control")),
        patch.object(journal, "secrets", SimpleNamespace(token_hex=lambda _: "5eed")),
    ):
        yield


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        DOCUMENT.write_text(record(DOCUMENT.read_text("utf-8"), Path(place)), encoding="utf-8")
