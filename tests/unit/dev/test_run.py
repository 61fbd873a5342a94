# SPDX-License-Identifier: GPL-2.0-only
"""The test runner: it goes on after a failure, keeps its time limits and counts correctly."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import beside, phases, process, run
from tests.beside import Outcome
from tests.phases import Command, Phase


def phase(name: str, *commands: Command, group: str = "fast") -> Phase:
    return phases.phase(name, group, minutes=1, commands=commands)


def test_a_phase_goes_on_after_a_failed_command(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    outcome = run.run_phase(
        phase("three words here", ("sh", "-c", "echo one; exit 3"), ("echo", "two")),
        root=tmp_path,
        logs=tmp_path / "logs",
    )
    assert outcome.failures == ("sh -c 'echo one; exit 3': exit code 3",)
    assert (tmp_path / "logs" / "three-words-here.log").read_text() == "one\ntwo\n"
    assert b"one\n" in capfdbinary.readouterr().out


def test_a_missing_program_is_a_failure(tmp_path: Path) -> None:
    outcome = run.run_phase(phase("x", ("no-such-program",)), root=tmp_path, logs=tmp_path)
    assert outcome.failures == ("no-such-program: No such file or directory",)


def test_a_command_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    hang = ("sh", "-c", "trap '' INT; echo $$ > pid; while :; do sleep 1; done")
    with (tmp_path / "log").open("wb") as log:
        failure = run.run_command(hang, root=tmp_path, log=log, deadline=time.monotonic() + 1)
    assert failure.endswith("not done when the time of the phase was up")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_a_later_phase_needs_is_made_beside_the_first(tmp_path: Path) -> None:
    slow = phases.phase(
        "last one", "fast", minutes=1, commands=[], ahead=("sh", "-c", "echo made; exec sleep 60")
    )
    with beside.working_ahead([phase("first"), slow], root=tmp_path, logs=tmp_path):
        log = tmp_path / "last-one-ahead.log"
        deadline = time.monotonic() + 20
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
    # And it does not outlive the phases.
    assert log.read_text() == "made\n"


def test_the_report_ends_with_the_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        Outcome("a", 61.5, ()),
        Outcome("b", 3600, ("make: exit code 2",)),
    ]
    (tmp_path / "a.log").write_text("fine\n")
    (tmp_path / "b.log").write_text("first\n" * run.LAST_LINES + "no rule to make it\n")
    run.report(outcomes, seconds=5, logs=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 passed, 1 failed"
    assert any(line.split() == ["passed", "a", "1:01", "min"] for line in lines)
    assert "        make: exit code 2" in lines
    assert "        | no rule to make it" in lines
    assert lines.count("        | first") == run.LAST_LINES - 1
    assert "        | fine" not in lines


def test_exit_code_tells_whether_all_passed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(
        phases, "every", lambda _: [phase("good", ("true",)), phase("bad", ("false",))]
    )
    assert run.main(["good"]) == 0
    assert run.main(["fast"]) == 1
    assert run.main(["worse"]) == 2


def test_phases_with_machines_of_their_own_run_beside_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").mkdir()
    # Stands for the runner that is started beside this one.
    (tmp_path / "tests" / "run.py").write_text(
        "import json, sys\n"
        "print('from beside', sys.argv[3])\n"
        "rows = [{'name': sys.argv[3], 'seconds': 1.5, 'failures': ['it broke']}]\n"
        "open(sys.argv[2], 'w').write(json.dumps(rows))\n"
    )
    chosen = [
        phases.phase("other guest", "slow", minutes=1, commands=[], lane=2),
        phases.phase("guest", "slow", minutes=1, commands=[], lane=1),
        phase("first", ("true",)),
    ]
    outcomes = run.run_phases(chosen, root=tmp_path, logs=tmp_path / "logs")
    assert [(o.name, o.failures) for o in outcomes] == [
        ("first", ()),
        ("guest", ("it broke",)),
        ("other guest", ("it broke",)),
    ]
    printed = capfd.readouterr().out
    assert "from beside guest" in printed
    assert "from beside other guest" in printed


def test_a_runner_that_dies_fails_its_phases(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "run.py").write_text("raise SystemExit(7)\n")
    other = phases.phase("guest", "slow", minutes=1, commands=[], lane=1)
    with beside.running([other], root=tmp_path, logs=tmp_path) as runner:
        [outcome] = runner.wait()
    assert outcome.failures == ("its runner ended with 7",)


def test_nothing_runs_beside_nothing(tmp_path: Path) -> None:
    guest = phases.phase("guest", "slow", minutes=1, commands=[], lane=1)
    assert beside.lanes([guest]) == [[guest]]
    assert run.run_phases([], root=tmp_path, logs=tmp_path) == []


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["a", "b", "c"]),
        (["all"], ["a", "b", "c", "d"]),
        (["fast"], ["a", "b"]),
        (["c", "a"], ["a", "c"]),
        (["extended"], ["d"]),
        (["d"], ["d"]),
    ],
)
def test_phases_are_chosen_in_order(words: list[str], names: list[str]) -> None:
    known = [phase("a"), phase("b"), phase("c", group="slow"), phase("d", group=phases.EXTENDED)]
    assert [p.name for p in phases.choose(known, words)] == names


def test_an_unknown_phase_lists_the_known() -> None:
    with pytest.raises(ValueError, match="no phase 'x'; there are: a, all, extended, fast"):
        phases.choose([phase("a")], ["x"])


def test_a_scenario_that_is_not_of_every_run_is_extended(tmp_path: Path) -> None:
    for name in ("default", "drill", "shared"):
        (tmp_path / "molecule" / name).mkdir(parents=True)
    for name in ("default", "drill"):
        (tmp_path / "molecule" / name / "molecule.yml").touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    groups = {p.name: p.groups for p in phases.every(tmp_path) if "molecule" in p.groups}
    assert groups == {
        "molecule default": {"molecule"},
        "molecule drill": {"molecule", "extended"},
    }


def test_every_run_has_its_scenarios() -> None:
    names = {p.name for p in phases.choose(phases.every(run.ROOT), [])}
    assert {f"molecule {scenario}" for scenario in phases.SCENARIOS} < names


def test_the_debug_kernel_has_all_tests_in_shares_side_by_side() -> None:
    debug = [p for p in phases.every(run.ROOT) if "kernel debug" in p.groups]
    shares = [p.commands[0][-1] for p in debug]
    assert shares == [f"{n}/{len(debug)}" for n in range(1, len(debug) + 1)]
    assert [p.lane for p in debug] == list(range(len(debug)))
    assert [bool(p.ahead) for p in debug] == [True, *[False] * (len(debug) - 1)]


def test_a_scenario_has_built_the_module_before_the_other_begins() -> None:
    first, second = beside.lanes(phases.choose(phases.every(run.ROOT), []))
    assert second[0].name == "molecule default"
    assert first[-1].name == "molecule relay_pair"


def test_mistakes_show_early() -> None:
    first, *_ = beside.lanes(phases.choose(phases.every(run.ROOT), []))
    assert [p.name for p in first][:4] == ["lint", "unit", "contract", "smoke"]
    quick = phases.choose(phases.every(run.ROOT), ["quick"])
    assert [p.name for p in quick] == ["lint", "unit", "contract", "smoke"]


def test_what_is_extended_is_listed_and_said_to_be_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    drill = phase("drill", ("false",), group=phases.EXTENDED)
    monkeypatch.setattr(phases, "every", lambda _: [phase("good", ("true",)), drill])
    assert run.main(["--list"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert [line.split() for line in listed] == [["good", "fast"], ["drill", "extended"]]
    assert run.main([]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0] == "=== left to ./dev test extended: drill"
    assert printed[-2] == "1 passed, 0 failed"
    assert printed[-1] == "Judged: a tree without a commit"


def test_shell_scripts_are_known_by_their_first_line(tmp_path: Path) -> None:
    for name, first in (
        ("a", "#!/bin/sh -eu"),
        ("b", "#!/usr/bin/env bash"),
        ("c", "#!/usr/bin/python3"),
        ("d", "sh"),
    ):
        (tmp_path / name).write_text(first + "\n")
    assert [n for n in "abcd" if phases.is_shell_script(tmp_path / n)] == ["a", "b"]
    assert not phases.is_shell_script(tmp_path)


def test_commands_are_shown_short() -> None:
    assert run.shorten((sys.executable, "-m", "pytest")) == "python -m pytest"
    assert run.shorten(("cc", *"abcdefgh")) == "cc a b c d e ..."
