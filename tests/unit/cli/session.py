# SPDX-License-Identifier: GPL-2.0-only
"""Records the session of docs/session.md anew: commands stay, their output is replaced.

python -m tests.unit.cli.session
"""

import contextlib
import io
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from ktcp_ops.cli import main

DOCUMENT = Path(__file__).parents[3] / "docs/session.md"
INDENT = "    "
PROMPT = f"{INDENT}$ "


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
    # A log's name contains the time.
    lines = [line for line in shown.getvalue().splitlines() if not line.startswith("log: ")]
    return [*lines, *([f"(exit code {code})"] if code else [])]


def replayed(text: str, answers: dict[str, list[str]]) -> Iterator[str]:
    """The lines of a document, with the commands' output replaced."""
    in_session = False
    for line in text.splitlines():
        if line.startswith(PROMPT):
            in_session = True
            yield line
            yield from (f"{INDENT}{said}".rstrip() for said in answers[line.removeprefix(PROMPT)])
        elif not (in_session and line.startswith(INDENT)):
            in_session = False
            yield line


def record(text: str, directory: Path) -> str:
    """Run a document's commands in an empty directory. Returns the document with their output."""
    environment = {"KTCP_STATE_DIR": str(directory / "state"), "COLUMNS": "100"}
    with patch.dict(os.environ, environment), contextlib.chdir(directory):
        answers = {command: run(command) for command in commands(text)}
    return "\n".join(replayed(text, answers)) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        DOCUMENT.write_text(record(DOCUMENT.read_text("utf-8"), Path(place)), encoding="utf-8")
