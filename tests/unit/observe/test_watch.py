# SPDX-License-Identifier: GPL-2.0-only
"""``mesh status --watch``: rates from two readings, a table that fits, an end by Ctrl-C."""

import io
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from rich.console import Console

from ktcp_ops import console
from ktcp_ops.cli import main
from ktcp_ops.mesh.observation import rates
from ktcp_ops.mesh.observation.status import READ_TASK, RelayStatus
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.run.result import RunResult
from tests.unit.observe.conftest import Answers, result

START = "2026-01-31 10:00:00.000000"


def status(relay: str, end: str, draining: bool = False, **counters: int) -> RelayStatus:
    """A reading of a relay whose counters have these values."""
    stats = {f"{name}_total": value for name, value in counters.items()}
    state = procfs.State(stats={"splits_active": 5, **stats}, draining=draining)
    return RelayStatus(relay=relay, state=state, taken=datetime.fromisoformat(end))


def row(before: RelayStatus | None, now: RelayStatus) -> dict[str, str]:
    (line,) = rates.rows([before] if before else [], [now])
    return dict(zip(rates.COLUMNS, line, strict=True))


BEFORE = status("rc", START, splits_opened=100, bytes_up=1_000, pool_hits=50, pool_misses=50)


def test_rates_are_by_the_relays_own_clock() -> None:
    now = status(
        "rc",
        "2026-01-31 10:00:02.500000",
        splits_opened=110,
        splits_failed=5,
        bytes_up=1_001_000,
        bytes_down=10_000_000_000,
        pool_hits=59,
        pool_misses=51,
        early_syn_met=4,
    )
    assert row(BEFORE, now) == {
        "RELAY": "rc",
        "SPLITS": "5",
        "OPENED/s": "4.0",
        "UP/s": "400.0k",
        "DOWN/s": "4.0G",
        "FAILED/s": "2.0",
        "READY": "0",
        "HIT%": "90.0",
        "EARLY%": "40.0",
        "NOTE": "",
    }


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, BEFORE),
        (RelayStatus(relay="rc", state=None), BEFORE),
        (BEFORE, status("rc", "2026-01-31 10:00:02", splits_opened=3)),
        (BEFORE, status("rc", START, splits_opened=100)),
        (status("rc", "2026-01-31 10:00:02"), BEFORE),
    ],
    ids=["first look", "was away", "loaded anew", "no time passed", "clock went back"],
)
def test_where_nothing_can_be_compared_there_are_no_rates(
    before: RelayStatus | None, now: RelayStatus
) -> None:
    line = row(before, now)
    assert {line[name] for name in rates.COLUMNS if name[-1] in "s%"} == {"-"}
    assert line["SPLITS"] == "5"


def test_the_last_line_is_of_all_relays() -> None:
    later = "2026-01-31 10:00:01"
    before = [status("rc", START), status("rs", START), status("rt", START)]
    now = [
        status("rc", later, splits_opened=4, bytes_up=500),
        status("rs", later, draining=True, splits_opened=2, bytes_up=700),
        RelayStatus(relay="rt", state=None, reason="timed out"),
    ]
    *relays, total = rates.rows(before, now)
    assert relays[1][-1] == "draining"
    assert relays[2] == ["rt", *["-"] * 8, "timed out"]
    assert total[:4] == ["(all)", "10", "6.0", "1.2k"]
    assert total[-1] == "1 without a state"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (2_500_000, "2.5M"),
        (7e12, "7.0T"),
        (7e15, "7000.0T"),
    ],
)
def test_amounts(number: float, text: str) -> None:
    assert rates.amount(number) == text


def answer(end: str, opened: int) -> RunResult:
    text = (
        f"/proc/net/ktcp/stats:splits_opened_total {opened}\n/proc/net/ktcp/stats:splits_active 1\n"
    )
    return result({f"{READ_TASK} now": {"rc": {"stdout": text, "end": end}}})


CANCELED = RunResult(hosts=(), complete=False, canceled=True)


def test_the_command_looks_again_until_it_is_interrupted(
    use: Callable[..., Answers],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    away = RunResult(hosts=(), complete=False, complaint="ssh: no route")
    later = answer("2026-01-31 10:00:04", 18)
    engine = use(answer(START, 10), away, later, CANCELED)
    command = ["mesh", "status", "--watch", "--interval", "3", "-i", "inv", "--limit", "rc"]
    assert main.run(command) == 130
    assert {job.limit for job in engine.jobs} == {"rc"}
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    opened = [line[2] for line in lines if line[0] == "rc"]
    assert opened == ["-", "2.0"]
    assert captured.err == "ssh: no route\n"
    assert all(0 < pause <= 3 for pause in slept)


def test_ctrl_c_between_two_looks_ends_it_without_a_word(
    use: Callable[..., Answers],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    use(answer(START, 10))
    assert main.run(["mesh", "status", "--watch", "-i", "inv"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("more", [["--peers"], ["-o", "json"]])
def test_the_table_that_stays_is_for_eyes(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "status", "--watch", "-i", "inv", *more]) == 2
    assert "--watch" in capsys.readouterr().err


ROWS = [[f"relay{number}", "12", "345.6", "a rather long remark"] for number in range(9)]
HEAD = ["RELAY", "SPLITS", "OPENED/s", "NOTE"]


def drawn(width: int, height: int) -> list[str]:
    """The content of a terminal of a given size."""
    watch = console.Watch(title="a title that is longer than a narrow terminal is wide")
    watch.console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    watch.table = (HEAD, ROWS)
    drawing = Console(file=io.StringIO(), width=width, soft_wrap=True)
    drawing.print(watch.render())
    assert isinstance(drawing.file, io.StringIO)
    return drawing.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(10, 5), (20, 7), (33, 10), (80, 24)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    lines = drawn(width, height)
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= max(height, 5)


def test_a_narrow_terminal_shows_the_first_columns() -> None:
    assert drawn(16, 24)[1].split() == ["RELAY", "SPLITS"]
    assert drawn(80, 24)[1].split() == HEAD
    assert drawn(40, 24)[2].endswith("\N{HORIZONTAL ELLIPSIS}")


def test_what_is_cut_off_below_is_counted() -> None:
    lines = drawn(80, 8)
    assert [line.split()[0] for line in lines[2:-1]] == ["relay0", "relay1", "relay2", "relay3"]
    assert "and 5 more" in lines[-1]
    assert "more" not in drawn(80, 24)[-1]


def test_on_a_terminal_the_last_table_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80, height=24)
    monkeypatch.setattr(console, "stdout", lambda: terminal)
    with console.Watch(title="watch") as watch:
        watch.show(HEAD, ROWS[:1], "remark")
        assert watch.live is not None
    text = screen.getvalue()
    assert "relay0" in text
    assert "remark" in text
    assert text.endswith("\x1b[?25h")
