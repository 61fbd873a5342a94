# SPDX-License-Identifier: GPL-2.0-only
"""Figures are summed up rightly, and only whole results are read."""

import json
from pathlib import Path

import pytest

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench.results import FILE, Results, dump, percentile, read
from ktcp_testbed.bench.tables import csv_rows, tables


def test_medians_and_spread(results: Results) -> None:
    series = results.series("ktcp", 10240)
    assert series is not None
    assert series.first.first_byte == 0.82
    assert series.median.first_byte == pytest.approx(0.3073)
    assert series.least.total == 0.307
    assert series.most.total == pytest.approx(0.308)
    assert series.model is not None
    assert series.model.first_byte == pytest.approx(0.3064)


def test_a_series_that_is_not_there(results: Results) -> None:
    assert results.series("socat", 10240) is None


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert percentile(values, 50) == 500
    assert percentile(values, 99) == 990
    assert percentile([3.0], 50) == percentile([3.0], 99) == 3


def test_written_and_read_again(results: Results, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(dump(results))
    assert read(tmp_path) == results == read(tmp_path / FILE)


def test_a_row_is_a_line(results: Results) -> None:
    lines = dump(results).splitlines()
    assert sum('"way": "nginx"' in line for line in lines) == 1
    assert ' "name": "paper",' in lines


def test_what_is_no_result_is_a_sentence(results: Results, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read(tmp_path / "none.json")
    half = json.loads(results.model_dump_json())
    del half["downloads"]
    (tmp_path / FILE).write_text(json.dumps(half))
    with pytest.raises(UsageError, match=r"is not a results\.json of this version"):
        read(tmp_path)


def test_tables(results: Results) -> None:
    first, total, uncounted, cost, set_up, threads, buffers = tables(results)
    assert first.columns == ["way", "10 KB", "model off by"]
    assert ["KTCP", "0.3073", "-0.3%"] in first.rows
    assert ["KTCP", "0.3075", "-0.4%"] in total.rows
    assert ["KTCP", "0.8200"] in uncounted.rows
    assert cost.rows == [["KTCP", "1.600", "1594", "276.0", "18000"]]
    assert ["process", "1500", "1500"] in threads.rows
    assert buffers.rows == [["4096", "2.500"]]
    assert ["KTCP", "1", "400.000", "500.000", "500.000", "100.000"] in set_up.rows


def test_csv_has_every_download(results: Results) -> None:
    rows = csv_rows(results)
    assert len(rows) == 1 + 3 * 3
    assert ["ktcp", "10240", "0", "0.820000", "0.830000"] in rows
    assert ["ktcp", "10240", "2", "0.307800", "0.308000"] in rows
