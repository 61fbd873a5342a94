# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard: the committed JSON matches the description, and Grafana can lay it out."""

import json
from itertools import combinations
from typing import Any

import pytest

from ktcp_ops.cli import main
from ktcp_ops.mesh.observation import dashboard
from tests.unit.roles.programs import ROOT

FILES = ROOT / "roles/ktcp_observe/files"


def test_the_committed_dashboard_is_of_the_current_description(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["mesh", "dashboard"]) == 0
    written = (FILES / "dashboard.json").read_text()
    assert capsys.readouterr().out == written, "ktcp-ops mesh dashboard writes it anew"


def test_the_alerts_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "alerts"]) == 0
    assert capsys.readouterr().out == (FILES / "alerts.yml").read_text()


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The cells of the grid that a panel covers."""
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    lines = range(place["y"], place["y"] + place["h"])
    return {(column, line) for column in columns for line in lines}


def test_no_two_panels_share_a_place_or_a_number() -> None:
    panels = dashboard.dashboard()["panels"]
    for one, other in combinations(panels, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert all(column < dashboard.COLUMNS for panel in panels for column, _ in cells(panel))
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_query_is_of_the_chosen_source_and_relays() -> None:
    for panel in dashboard.dashboard()["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"] == dashboard.SOURCE
            assert dashboard.CHOSEN in target["expr"]
    assert '"${source}"' in json.dumps(dashboard.dashboard())
