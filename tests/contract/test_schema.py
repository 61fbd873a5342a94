# SPDX-License-Identifier: GPL-2.0-only
"""The committed schema is the model's, accepts our own inventories, and refuses mistakes.

Set KTCP_UPDATE_EXPECTED=1 to write it anew, and read the difference.
"""

import copy
import json
import os
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from ktcp_ops.mesh.inventory.schema import schema
from tests.contract.conftest import ROOT
from tests.unit.mesh.conftest import MESH

FILE = ROOT / "docs" / "mesh.schema.json"


def errors(mesh: object) -> list[str]:
    validator = Draft202012Validator(schema())
    return [error.json_path for error in validator.iter_errors({"ktcp_mesh": mesh})]


def test_the_committed_schema_is_that_of_the_model() -> None:
    text = json.dumps(schema(), indent=2, sort_keys=True) + "\n"
    if os.environ.get("KTCP_UPDATE_EXPECTED"):
        FILE.write_text(text)
    assert FILE.read_text() == text, "ktcp-ops mesh schema > docs/mesh.schema.json"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("inventory", ["clouds", "example", "lab"])
def test_our_inventories_follow_it(inventory: str) -> None:
    file = ROOT / "inventories" / inventory / "group_vars/all/mesh.yml"
    variables = yaml.safe_load(file.read_text())
    assert errors(variables["ktcp_mesh"]) == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("port", 1),
        ("pairs", "all"),
        ("pool", {"low": 1, "high": 5000}),
        ("settings", {"engine": "fast"}),
        ("ports", {"client": 0}),
        ("paths", [{"ingress": "rc"}]),
        ("paths", [{"name": "a", "ingress": "rc", "transparent": "maybe"}]),
        ("paths", [{"name": "a", "ingress": "rc", "via": "some", "exits": ["rs"]}]),
        ("paths", [{"name": "a", "ingress": "rc", "target_rtt_ms": {"rs": -1}}]),
        ("auto", {"max_hops": 9}),
        ("paths", [{"name": "a", "ingress": "rc", "service": {"port": 80}}]),
        ("paths", [{"name": "a", "ingress": "rc", "service": {"port": 80, "target": "x:1"}}]),
    ],
)
def test_it_refuses_what_the_model_refuses(where: str, value: object) -> None:
    mesh: dict[str, Any] = copy.deepcopy(MESH)
    mesh["auto"] = {"max_hops": 3}
    mesh["paths"].append({"name": "a", "ingress": "rc", "via": "auto", "exits": ["rs"]})
    assert errors(mesh) == []
    mesh[where] = value
    assert errors(mesh)
