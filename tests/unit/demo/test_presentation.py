# SPDX-License-Identifier: GPL-2.0-only
"""Tables, files and picture."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.demo.__main__ import present, trust, write
from ktcp_testbed.demo.results import Results, StepResult, StepTimes
from ktcp_testbed.demo.tables import tables


def test_a_row_a_size(results: Results) -> None:
    first, last = tables(results)
    assert first.title == "Time to first byte (seconds, median of 3)"
    assert first.rows[0] == ("10 KB", "0.600", "0.547", "0.300", "0.547", "2.00")
    assert last.rows[1] == ("1 MB", "1.200", "2.190", "0.600", "1.837", "2.00")
    assert all(len(row) == len(first.columns) for row in first.rows + last.rows)


def test_a_row_a_step(results: Results) -> None:
    step = StepResult(
        name="naive split",
        settings={"turbo": "off"},
        sizes=tuple(
            StepTimes(size=each.size, ktcp=each.ktcp, model=each.ktcp_model)
            for each in results.comparisons
        ),
    )
    table = tables(results.model_copy(update={"steps": (step,)}))[-1]
    assert table.columns[1::2] == ("first byte of 10 KB", "last byte of 1 MB")
    assert table.rows == (("naive split", "0.300", "0.547", "0.600", "1.837"),)


def test_files_are_written_and_named(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(results, tmp_path / "build" / "demo")
    assert [file.name for file in files] == ["results.json", "demo.svg", "demo.png"]
    assert Results.model_validate_json(files[0].read_text(encoding="utf-8")) == results
    assert ET.parse(files[1]).getroot().tag.endswith("svg")
    assert files[2].read_bytes().startswith(b"\x89PNG")

    present(results, files)
    printed = capsys.readouterr().out
    assert "Time to last byte" in printed
    assert all(str(file) in printed.replace("\n", "") for file in files)


def test_the_same_results_give_the_same_picture(results: Results, tmp_path: Path) -> None:
    first = write(results, tmp_path / "a")[1]
    second = write(results, tmp_path / "b")[1]
    assert first.read_bytes() == second.read_bytes()


def test_an_unwritable_directory_is_a_sentence(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KtcpError, match="the results could not be written"):
        write(results, tmp_path / "file" / "demo")


def test_a_busy_host_is_owned_up_to(results: Results) -> None:
    assert "up to 10% off the model: this host was too busy" in trust(results)
    comparisons = tuple(
        each.model_copy(update={"routed": each.routed_model}) for each in results.comparisons
    )
    quiet = results.model_copy(update={"comparisons": comparisons})
    assert "within 0.0% of the model" in trust(quiet)
