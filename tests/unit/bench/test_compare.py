# SPDX-License-Identifier: GPL-2.0-only
"""Two results: what got worse is found, what cannot be compared is refused."""

import json
from pathlib import Path

import pytest

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench.compare import Kind, Row, compare
from ktcp_testbed.bench.results import FILE, Results
from ktcp_testbed.cli.main import run


def changed(results: Results, **cost: float) -> Results:
    """The same results with another cost."""
    costs = (results.costs[0].model_copy(update=cost),)
    return results.model_copy(update={"costs": costs})


@pytest.fixture
def files(results: Results, tmp_path: Path) -> tuple[Path, Path]:
    """A result, and one that used a tenth more CPU time."""
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(results.model_dump_json())
    after.write_text(changed(results, cpu_s=1.76).model_dump_json())
    return before, after


def test_less_is_better_but_for_rates() -> None:
    assert Row(name="time", before=2, after=3).ratio == 1.5
    assert Row(name="rate", before=2, after=3, kind=Kind.RATE).ratio == pytest.approx(2 / 3)
    assert Row(name="memory", before=0, after=1).ratio == float("inf")
    assert Row(name="memory", before=-1, after=-1).ratio == 1


@pytest.mark.parametrize(
    ("kind", "after", "other"),
    [
        (Kind.TIME, 2.0004, False),
        (Kind.TIME, 1.9994, True),
        (Kind.CPU, 2.05, False),
        (Kind.CPU, 2.07, True),
        (Kind.RATE, 1.93, True),
        (Kind.SLOWEST, 3.0, False),
        (Kind.MEMORY, 3.0, False),
    ],
)
def test_what_the_same_work_gives_again(kind: Kind, after: float, other: bool) -> None:
    assert Row(name="figure", before=2.0, after=after, kind=kind).is_other() == other


@pytest.mark.parametrize(
    ("after", "other"), [(1.7, False), (2.5, False), (2.51, True), (1.6, True)]
)
def test_a_median_of_what_is_apart_is_among_it(after: float, other: bool) -> None:
    row = Row(name="figure", before=2.0, after=after, spread=(1.7, 2.5))
    assert row.is_other() == other


def test_every_figure_is_compared(results: Results) -> None:
    rows = {row.name: row for row in compare(results, changed(results, connections_per_s=797))}
    assert rows["KTCP: connections/s"].ratio == pytest.approx(2)
    assert rows["KTCP, 10 KB: first byte, s"].ratio == 1
    assert rows["KTCP, 1 at a time: set-up p99, s"].ratio == 1
    assert len(rows) == 3 * 2 + 3 + 5 * 2


def test_other_networks_are_refused(results: Results) -> None:
    options = results.options.model_copy(update={"loss_percent": 1.0})
    with pytest.raises(UsageError, match=r"differ in loss_percent: 0.0 and 1.0"):
        compare(results, results.model_copy(update={"options": options}))


def test_nothing_in_common_is_refused(results: Results) -> None:
    empty = results.model_copy(update={"downloads": (), "costs": (), "set_ups": ()})
    with pytest.raises(UsageError, match="no row in common"):
        compare(results, empty)


def test_the_command_fails_past_the_ratio(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, files)
    assert run(["bench", "compare", before, after, "--ratio", "1.2"]) == 0
    assert run(["bench", "compare", before, after]) == 1
    said = capsys.readouterr()
    assert "1 of 19 figures are more than 1.05 times worse" in said.err
    line = next(line for line in said.out.splitlines() if "CPU" in line and "failed" in line)
    assert line.split() == ["KTCP:", "CPU,", "s", "1.6000", "1.7600", "1.100", "failed"]


def test_the_command_asks_whether_a_run_repeats_another(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, files)
    assert run(["bench", "compare", before, before, "--same"]) == 0
    assert run(["bench", "compare", before, after, "--same"]) == 1
    assert "1 of 19 figures are not the same" in capsys.readouterr().err


def test_memory_has_a_ratio_of_its_own(results: Results, tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(results.model_dump_json())
    kib = results.costs[0].idle_kib * 1.5
    after.write_text(changed(results, idle_kib=kib).model_dump_json())
    assert run(["bench", "compare", str(before), str(after)]) == 0
    assert run(["bench", "compare", str(before), str(after), "--memory-ratio", "1.4"]) == 1


def test_the_command_as_data(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "compare", *map(str, files), "-o", "json", "--ratio", "2"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["figures"]}
    assert rows["KTCP: CPU, s"]["ratio"] == pytest.approx(1.1)


def test_no_report_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "compare", str(tmp_path), str(tmp_path)]) == 2
    assert f"{FILE} cannot be read" in capsys.readouterr().err


def test_two_kernels_are_told_apart(
    results: Results, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {**results.versions, "kernel": "6.12.2"}
    files[1].write_text(results.model_copy(update={"versions": versions}).model_dump_json())
    assert run(["bench", "compare", *map(str, files)]) == 0
    assert "of two kernels, which differ in speed: 6.12.1 and 6.12.2" in capsys.readouterr().err
    files[1].write_text(results.model_dump_json())
    assert run(["bench", "compare", *map(str, files)]) == 0
    assert "two kernels" not in capsys.readouterr().err
