# SPDX-License-Identifier: GPL-2.0-only
"""A rollout builds, then writes the configuration, and replaces the loaded module last."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.roles.playbook import played

ROOT = Path(__file__).resolve().parents[3]
PHASES = {
    "ktcp_module": ("preflight", "packages", "sign", "build", "reload"),
    "ktcp_peers": ("configure", "service", "apply"),
}


def relays_play() -> list[dict[str, object]]:
    """The entries of the two roles in site.yml."""
    play = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())[0]
    return [entry for entry in play["roles"] if entry["role"] in PHASES]


def phases(place: Path, roles: list[dict[str, object]]) -> list[str]:
    """Run the roles' main.yml with phases that only report that they ran."""
    for role, names in PHASES.items():
        tasks = place / "roles" / role / "tasks"
        tasks.mkdir(parents=True)
        (tasks / "main.yml").write_text((ROOT / "roles" / role / "tasks/main.yml").read_text())
        defaults = place / "roles" / role / "defaults"
        defaults.mkdir()
        (defaults / "main.yml").write_text(
            (ROOT / "roles" / role / "defaults/main.yml").read_text()
        )
        for name in names:
            said = {"name": f"PHASE {name}", "ansible.builtin.command": {"argv": ["echo"]}}
            register = {"register": "ktcp_module_build"} if name == "build" else {}
            (tasks / f"{name}.yml").write_text(json.dumps([{**said, **register}]))
    play = {"hosts": "localhost", "gather_facts": False, "roles": roles}
    return re.findall(r"TASK \[.*PHASE (\w+)\]", played(place, play))


def test_a_rollout_loads_the_module_after_the_configuration_is_written(tmp_path: Path) -> None:
    assert phases(tmp_path, relays_play()) == [
        "preflight",
        "packages",
        "sign",
        "build",
        "configure",
        "reload",
        "service",
        "apply",
    ]


@pytest.mark.parametrize("role", PHASES)
def test_a_role_by_itself_reloads_only_what_is_its_own(tmp_path: Path, role: str) -> None:
    ran = phases(tmp_path, [{"role": role}])
    assert ran == list(PHASES[role])
