# SPDX-License-Identifier: GPL-2.0-only
"""What paths gain: the model, computed from the known legs."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ktcp_ops.cli import main
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.gains import COLUMNS, SIZE, Gain, predict, row, to_data
from ktcp_ops.model import Improvements, Legs, routed, split
from tests.unit.mesh.conftest import make_description, one_mesh

PAPER = {"client": {"rc": 32700}, "rc": {"rs": 215000}, "10.77.3.2": {"rs": 26000}}
LEGS = Legs(client=0.0327, relays=(0.215,), server=0.026)


def mesh_with(rtts: dict[str, dict[str, int]], **fields: Any) -> Mesh:  # noqa: ANN401
    """Make the small mesh with measured legs and more fields of its path."""

    def spoil(mesh: dict[str, Any]) -> None:
        del mesh["settings"]
        mesh["paths"][0].update(fields)

    return read(make_description(spoil)).model_copy(update={"latency": Latency(rtts=rtts)})


def only(mesh: Mesh) -> Gain:
    (found,) = predict(mesh)
    return found


def test_the_papers_path() -> None:
    found = only(mesh_with(PAPER))
    full = Improvements(early_syn=True, conn_pool=True, turbo=True)
    assert found.split == split(LEGS, SIZE, full)
    assert found.routed == routed(LEGS, SIZE)
    cells = dict(zip(COLUMNS, row(found), strict=True))
    assert (cells["WAY"], cells["RELAYS_MS"], cells["ROUTED_MS"]) == ("rc,rs", "215.000", "-")
    assert (cells["TTFB_ROUTED"], cells["TTFB"], cells["SOONER"]) == ("547.4", "306.4", "1.79")
    assert float(cells["MBIT"]) > float(cells["MBIT_ROUTED"]) > 0
    assert cells["FASTER"] == f"{found.routed.total / found.split.total:.2f}"


def test_routing_may_be_shorter_than_the_way_through_relays() -> None:
    found = only(mesh_with({**PAPER, "10.77.3.2": {"client": 200000, "rs": 26000}}))
    assert found.routed_us == 200000
    assert found.routed
    assert found.routed.first_byte == pytest.approx(0.4)
    assert row(found)[COLUMNS.index("ROUTED_MS")] == "200.000"


def test_unknown_outer_legs_count_as_nothing() -> None:
    found = only(mesh_with({"rc": {"rs": 215000}}))
    assert (found.client_us, found.target_us) == (None, None)
    assert found.routed
    assert found.routed.first_byte == pytest.approx(0.43)
    assert row(found)[2:6] == ["-", "215.000", "-", "-"]


def test_the_inventory_may_say_how_long_outer_legs_are() -> None:
    said = {"client_rtt_ms": 10, "target_rtt_ms": {"rs": "2.5"}}
    found = only(mesh_with(PAPER, **said))
    assert (found.client_us, found.target_us) == (10000, 2500)


def test_nothing_is_predicted_of_unknown_relays() -> None:
    found = only(mesh_with({"client": {"rc": 32700}}))
    assert found.split is None
    assert row(found)[6:] == ["-"] * 6


def test_a_path_that_is_split_once() -> None:
    found = only(mesh_with({}, via=[], ingress="rs"))
    assert found.relays_us == 0
    assert row(found)[6:] == ["0.0", "0.0", "-", "0.0", "0.0", "-"]


@pytest.mark.parametrize("name", ["early_syn", "conn_pool", "turbo"])
def test_improvements_that_are_off_are_not_counted(name: str) -> None:
    mesh = mesh_with(PAPER)
    slow = mesh.model_copy(update={"settings": mesh.settings.model_copy(update={name: False})})
    one, other = only(mesh).split, only(slow).split
    assert one
    assert other
    assert other.total > one.total


def test_plan_shows_gains_once_there_are_some(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rtts, there in ((PAPER, True), ({}, False)):
        mesh = mesh_with(rtts)

        def load(_names: Sequence[str], mesh: Mesh = mesh) -> Mesh:
            return mesh

        monkeypatch.setattr(inventory, "load_all", one_mesh(load))
        assert main.run(["mesh", "plan", "-i", "inv"]) == 0
        last = capsys.readouterr().out.splitlines()[-1].split()
        assert (last[:2] == ["web", "rc,rs"]) is there
    assert main.run(["mesh", "plan", "-i", "inv", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["paths"] == json.loads(json.dumps(to_data(list(predict(mesh)))))
    assert main.run(["mesh", "plan", "-i", "inv", "-o", "json", "--relay", "rs"]) == 0
    assert json.loads(capsys.readouterr().out)["paths"] == {}
