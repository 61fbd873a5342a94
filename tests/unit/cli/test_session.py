# SPDX-License-Identifier: GPL-2.0-only
"""The terminal session in the documentation is what the terminal shows."""

from pathlib import Path

from tests.unit.cli import session


def test_the_session_in_the_docs_is_what_the_terminal_shows(tmp_path: Path) -> None:
    text = session.DOCUMENT.read_text(encoding="utf-8")
    words = {word for command in session.commands(text) for word in command.split()}
    assert {"init", "validate", "plan", "rollout", "status", "verify", "remove"} <= words
    assert session.record(text, tmp_path) == text


def test_answers_are_replaced_and_all_else_stays() -> None:
    text = "Before\n\n    $ one\n    old\n    more\n\nAfter\n\n    not a command\n"
    new = "\n".join(session.replayed(text, [["new", ""]])) + "\n"
    assert new == "Before\n\n    $ one\n    new\n\n\nAfter\n\n    not a command\n"
