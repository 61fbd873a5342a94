# SPDX-License-Identifier: GPL-2.0-only
"""The program's signals: each ends it with the clean-up of Ctrl-C, unless it is ignored."""

import signal
from collections.abc import Iterator

import pytest

from ktcp_ops.cli import main

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

    def run(_: list[str]) -> int:
        signal.raise_signal(number)
        return 0

    monkeypatch.setattr(main, "run", run)
    with pytest.raises(KeyboardInterrupt):
        main.main()


def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(main, "run", lambda _: 0)
    with pytest.raises(SystemExit):
        main.main()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
