# SPDX-License-Identifier: GPL-2.0-only
"""What is shown of a guest's logs when something went wrong."""

from pathlib import Path

from ktcp_testbed.lab.logs import Logs, tail


def test_a_log_is_shown_without_control_characters(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"first\r\n\r\n\x1b[1mlast\xff\x00\r\n")
    assert tail(log) == ["first", "[1mlast\ufffd"]
    assert tail(tmp_path / "none") == []


def test_logs_that_say_something_are_quoted(tmp_path: Path) -> None:
    logs = Logs(directory=tmp_path)
    logs.errors.write_text("")
    logs.console.write_text("panic\n")
    assert logs.describe("it has died") == (
        f"it has died\nthe last lines of {tmp_path}/console.log:\n  panic"
    )
