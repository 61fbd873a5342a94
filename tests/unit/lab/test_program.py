# SPDX-License-Identifier: GPL-2.0-only
"""Programs whose output goes to a log."""

from pathlib import Path

import pytest

from ktcp_testbed.lab import program

ENDLESS = """trap 'echo asked >"$0"; exit' TERM; echo ready; while :; do sleep 0.1; done"""


def test_output_is_logged_and_heard_line_by_line(tmp_path: Path) -> None:
    heard: list[str] = []
    script = "seq 40; echo wrong >&2; exit 3"
    ended = program.run(["sh", "-c", script], log=tmp_path / "log", heard=heard.append)
    assert heard == [*map(str, range(1, 41)), "wrong"]
    assert (tmp_path / "log").read_text().splitlines() == heard
    assert (ended.code, list(ended.last)) == (3, heard[-program.KEPT_LINES :])


def test_a_program_is_asked_to_end_when_we_are(tmp_path: Path) -> None:
    asked = tmp_path / "asked"

    def interrupted(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program.run(["sh", "-c", ENDLESS, str(asked)], log=tmp_path / "log", heard=interrupted)
    assert asked.read_text() == "asked\n"
