# SPDX-License-Identifier: GPL-2.0-only
"""The doctor and the bundle through Ansible itself, with this machine as the one relay."""

from pathlib import Path

import pytest
import yaml

from ktcp_ops.mesh.diagnosis import bundle, doctor
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.reporter import Silent
from tests.unit.mesh.conftest import KEY

MESH = {
    "relays_group": "relays",
    "key": 1,
    "paths": [
        {"name": "web", "ingress": "here", "destinations": ["198.51.100.0/24"], "ports": [80]}
    ],
    "exits": {"here": [{"allow": "198.51.100.0/24"}]},
}
HERE = {
    "ansible_connection": "local",
    "ansible_become": False,
    "ansible_python_interpreter": "/usr/bin/python3",
    "ktcp_address": "192.0.2.1",
    # As a cloud's inventory sets it.
    "source_dest_check": True,
}


@pytest.fixture(autouse=True)
def a_valid_mesh() -> None:
    """Inventories are read here."""


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """An inventory of this machine; it has no peer, so nobody is talked to."""
    hosts = {"relays": {"hosts": {"here": HERE}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    (tmp_path / "group_vars").mkdir()
    variables = {"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}}
    (tmp_path / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (tmp_path / "mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")
    return str(tmp_path)


def test_this_machine_is_examined(directory: str) -> None:
    result, (diagnosis,) = doctor.examine(
        engine=LocalEngine(),
        reporter=Silent(),
        mesh=inventory.load([directory]),
        inventories=[directory],
        limit=None,
    )
    assert int(result.exit_code) == 0
    assert (diagnosis.relay, diagnosis.reason) == ("here", "")
    seen = [finding.seen for finding in diagnosis.findings]
    assert "ktcp-apply --check: it is not installed" in seen
    assert result.outputs[doctor.CLOUD_TASK]["here"]["msg"] == {"aws": True, "gcp": None}


def test_this_machine_is_bundled(directory: str) -> None:
    result, texts = bundle.collect(
        engine=LocalEngine(),
        reporter=Silent(),
        mesh=inventory.load([directory]),
        inventories=[directory],
        limit=None,
        flows=False,
    )
    assert int(result.exit_code) == 0
    assert "Linux" in texts["here/commands/uname"]
    assert "MemTotal" in texts["here/files/proc/meminfo"]
    assert "198.51.100.0/24" in texts["plan.json"]
    assert not [name for name, text in texts.items() if KEY in text]
