# SPDX-License-Identifier: GPL-2.0-only
"""The options of `./dev demo`, its exit codes and its last words."""

from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode, KtcpError, UnreachableError
from ktcp_testbed.demo import __main__ as program
from ktcp_testbed.demo.results import Results
from ktcp_testbed.demo.session import Session


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Write everything below a directory of the test's own."""
    monkeypatch.setattr(program, "CHECKOUT", tmp_path)
    monkeypatch.setenv("KTCP_LAB_DIR", str(tmp_path / "lab"))


def test_results_are_left_where_it_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: Results,
    tmp_path: Path,
) -> None:
    sessions: list[Session] = []

    def measure(session: Session) -> Results:
        sessions.append(session)
        return results

    monkeypatch.setattr(Session, "measure", measure)
    code = program.main(["--keep", "--release", "bookworm", "--runs", "3"])
    assert code == ExitCode.OK
    assert sessions == [
        Session(checkout=tmp_path, lab=tmp_path / "lab", release="bookworm", runs=3, keep=True)
    ]
    assert (tmp_path / "build" / "demo" / "results.json").exists()
    printed = capsys.readouterr()
    assert "Time to first byte" in printed.out
    assert "./dev lab ssh rc" in printed.err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def measure(_session: Session) -> Results:
        raise error

    monkeypatch.setattr(Session, "measure", measure)
    return program.main([])


def test_errors_are_sentences_with_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, UnreachableError("rc: no answer")) == ExitCode.UNREACHABLE
    assert capsys.readouterr().err == "error: rc: no answer\n"


def test_a_failed_clean_up_does_not_hide_the_first_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = KtcpError("the lab is still there")
    error.__context__ = KtcpError("the mesh could not be rolled out")
    assert fail_with(monkeypatch, error) == ExitCode.FAILED
    assert capsys.readouterr().err.splitlines() == [
        "error: the mesh could not be rolled out",
        "error: the lab is still there",
    ]


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_with(monkeypatch, KeyboardInterrupt()) == ExitCode.INTERRUPTED


@pytest.mark.parametrize("options", [["--runs", "0"], ["--runs", "x"], ["--release", "sid"]])
def test_wrong_options(options: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        program.main(options)
    assert end.value.code == ExitCode.USAGE
