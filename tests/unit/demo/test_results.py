# SPDX-License-Identifier: GPL-2.0-only
"""Medians, and the schema of results.json."""

import json

import pytest
from pydantic import ValidationError

from ktcp_ops.model import Improvements
from ktcp_testbed.demo.results import Download, Results, Way, human_size, improvements_in, medians


def test_median_ignores_an_outlier(downloads: list[Download]) -> None:
    times = medians([d for d in downloads if d.way is Way.KTCP and d.size == 10_240])
    assert (times.first_byte, times.total) == (0.3, 0.6)


def test_sizes_are_compared_in_order(results: Results) -> None:
    assert [c.size for c in results.comparisons] == [10_240, 1_048_576]
    smallest = results.comparisons[0]
    assert smallest.first_byte_speed_up == pytest.approx(2)
    assert smallest.routed_model.first_byte == pytest.approx(0.5474)


def test_json_reads_back_the_same(results: Results) -> None:
    text = results.model_dump_json(indent=2)
    assert Results.model_validate_json(text) == results
    assert json.loads(text)["schema_version"] == 1
    assert json.loads(text)["downloads"][0]["way"] == "routed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_byte": -1.0},
        {"total": float("nan")},
        {"sha256": "short"},
        {"way": "teleported"},
        {"colour": "red"},
    ],
)
def test_schema_refuses(downloads: list[Download], wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Download.model_validate({**downloads[0].model_dump(), **wrong})


def test_improvements_are_those_switched_on() -> None:
    settings = {"early_syn": "on", "conn_pool": "off", "turbo": "on", "engine": "threads"}
    assert improvements_in(settings) == Improvements(early_syn=True, turbo=True)


@pytest.mark.parametrize(("size", "text"), [(10_240, "10 KB"), (1_048_576, "1 MB")])
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text
