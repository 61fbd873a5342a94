# SPDX-License-Identifier: GPL-2.0-only
"""The program as a whole: its signals, and what only a checkout has."""

import signal
from collections.abc import Iterator

import pytest

from ktcp_ops.cli import main
from ktcp_ops.errors import ExitCode
from ktcp_testbed.cli import main as testbed

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Restore the test runner's own handlers afterwards."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_taken_as_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def run(*_: object) -> int:
        signal.raise_signal(number)
        return 0

    monkeypatch.setattr(main, "run", run)
    with pytest.raises(KeyboardInterrupt):
        main.main()


def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(main, "run", lambda *_: 0)
    with pytest.raises(SystemExit):
        main.main()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("words", [["lab", "up"], ["bench", "paper", "--runs", "3"]])
def test_the_test_bed_is_not_part_of_the_operators_program(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == ExitCode.USAGE
    said = f"{words[0]}: belongs to the test bed, which only a checkout of the project has"
    assert said in capsys.readouterr().err


def test_a_checkouts_program_has_the_test_bed(capsys: pytest.CaptureFixture[str]) -> None:
    for group in main.TESTBED:
        assert testbed.run([group, "--help"]) == ExitCode.OK
        assert f"Usage: ktcp-ops {group}" in capsys.readouterr().out
