# SPDX-License-Identifier: GPL-2.0-only
"""Every role's options: typed, described, prefixed, and with one default in both places."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops.mesh.relay.plan import Node
from tests.contract.conftest import ROOT

# This role has no tasks; it brings a module to the others.
ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/tasks/main.yml"))

SHARED = {"ktcp_node"}
"""Set on each relay by the inventory plugin, for all roles."""


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}


def defaults(role: str) -> dict[str, Any]:
    return read(ROOT / "roles" / role / "defaults/main.yml")


def options(role: str) -> dict[str, dict[str, Any]]:
    """Merge the options of all entry points of a role."""
    specs = read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for entry in specs.values():
        found |= entry.get("options") or {}
    return found


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_specification_agree(role: str) -> None:
    specified = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}
    assert specified == defaults(role)


@pytest.mark.parametrize("role", ROLES)
def test_options_are_typed_described_and_prefixed(role: str) -> None:
    for name, spec in options(role).items():
        assert name in SHARED or name.startswith(f"{role}_"), name
        assert spec["type"], name
        assert spec["description"], name
        assert name in SHARED or ("default" in spec) != spec.get("required", False), name


@pytest.mark.parametrize("role", ROLES)
def test_an_entry_point_has_its_tasks(role: str) -> None:
    specs = read(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    for name, entry in specs.items():
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").is_file(), name
        assert entry["short_description"], name
    entries = {path.stem for path in (ROOT / "roles" / role / "tasks").glob("teardown.yml")}
    assert entries <= set(specs)


def test_what_is_planned_for_a_relay_is_what_a_role_takes() -> None:
    taken = options("ktcp_peers")["ktcp_node"]["options"]
    assert set(taken) == set(Node.__annotations__)


@pytest.mark.parametrize("role", ROLES)
def test_tasks_set_no_variable_of_another_role(role: str) -> None:
    for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
        for task in flatten(yaml.safe_load(path.read_text()) or []):
            name = task.get("register")
            assert name is None or name.startswith(f"{role}_"), f"{path.name}: {name}"


def flatten(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List tasks with those inside their blocks."""
    found = []
    for task in tasks:
        found.append(task)
        for part in ("block", "rescue", "always"):
            found += flatten(task.get(part, []))
    return found
