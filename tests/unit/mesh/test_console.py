# SPDX-License-Identifier: GPL-2.0-only
"""Output: only data on stdout, plain lines in a log, a drawing on a terminal."""

import io

import pytest
from rich.console import Console

from ktcp_ops import console


def test_a_row_is_a_line_whatever_the_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    console.print_table(("NAME", "N"), [("a [bold]name[/] " * 10, "7"), ("b", "12345")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("  " + "7".rjust(5))
    assert lines[2].split() == ["b", "12345"]


def test_numbers_stand_below_each_other_and_no_line_ends_in_spaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.print_table(("RELAY", "SPLITS", "NOTE"), [("rc", "7", ""), ("tallinn", "1,200", "ok")])
    assert capsys.readouterr().out == (
        "RELAY    SPLITS  NOTE\n"
        "rc            7\n"
        "tallinn   1,200  ok\n"
    )  # fmt: skip


def test_progress_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    progress = console.Progress()
    progress.started(title="rollout", tasks=2)
    progress.task(number=1, name="Build [6.1]")
    progress.host(host="rc", outcome="ok", message="")
    progress.host(host="rs", outcome="failed", message="no headers")
    progress.task(number=2, name="Load")
    progress.task(number=3, name="A handler")
    progress.finished()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "rollout: begins",
        "rollout: [1/2] Build [6.1]",
        "rollout: [1/2] rs failed: no headers",
        "rollout: [2/2] Load",
        "rollout: [3] A handler",
    ]


def test_progress_on_a_terminal() -> None:
    screen = io.StringIO()
    progress = console.Progress()
    progress.console = Console(file=screen, force_terminal=True, width=100, height=30)
    progress.started(title="rollout", tasks=2)
    progress.task(number=1, name="Build")
    progress.host(host="rc", outcome="changed", message="")
    progress.host(host="rs", outcome="failed", message="no headers")
    progress.host(host="rs", outcome="ok", message="")  # a failed host stays failed
    drawing = Console(file=io.StringIO(), width=100)
    drawing.print(progress.render())
    progress.finished()
    assert isinstance(drawing.file, io.StringIO)
    text = drawing.file.getvalue().splitlines()
    assert text[0] == "rollout [1/2] Build"
    assert text[1].split() == ["rc", "1", "tasks", "1", "changed", "changed"]
    assert text[2].split() == ["rs", "2", "tasks", "0", "changed", "failed", "no", "headers"]
    assert "rollout" in screen.getvalue()


def test_progress_of_more_hosts_than_lines_fits_the_terminal() -> None:
    progress = console.Progress()
    progress.console = Console(file=io.StringIO(), force_terminal=True, width=40, height=8)
    progress.started(title="rollout", tasks=2)
    for number in range(20):
        progress.host(host=f"relay{number:02}", outcome="failed", message="no headers " * 9)
    drawing = Console(file=io.StringIO(), width=40)
    drawing.print(progress.render())
    progress.finished()
    assert isinstance(drawing.file, io.StringIO)
    lines = drawing.file.getvalue().splitlines()
    assert len(lines) <= 8
    assert max(len(line) for line in lines) <= 40
    assert lines[1].split()[0] == "relay00"
