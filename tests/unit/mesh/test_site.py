# SPDX-License-Identifier: GPL-2.0-only
"""`mesh rollout` and plain `ansible-playbook site.yml`: the same hosts, by the same tasks."""

from pathlib import Path

import pytest
import yaml

from ktcp_ops.cli import main, workers
from ktcp_ops.run.environment import collection_root, playbook
from ktcp_ops.run.hosts import survey
from ktcp_ops.run.inventory import resolve
from tests.unit.mesh.conftest import KEY, MESH, RELAYS
from tests.unit.mesh.fleet import Fleet

SITE = playbook("site.yml")


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An inventory of two relays and an edge."""
    monkeypatch.setenv("KTCP_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "inventory"
    (path / "group_vars").mkdir(parents=True)
    groups = {"relays": {"hosts": RELAYS}, "others": {"hosts": {"client": {}, "office": {}}}}
    (path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    mesh = {**MESH, "edges": {"office": {"relay": "rc", "via": ["10.77.1.1", "fd77::1"]}}}
    variables = {"ktcp_mesh": mesh, "ktcp_keys": {1: KEY}}
    (path / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (path / "mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")
    return str(path)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet()
    monkeypatch.setattr(workers, "make_engine", lambda: fleet)
    return fleet


@pytest.mark.parametrize("steps", ["1,10%,100%", "off"])
def test_waves_bring_the_playbook_to_each_of_its_hosts_once(
    steps: str, inventory: str, fleet: Fleet
) -> None:
    assert main.run(["mesh", "rollout", "-i", inventory, "--waves", steps]) == 0
    brought = [job for job in fleet.jobs if job.playbook == SITE]
    hosts = [host for job in brought for host in (job.limit or "").split(",")]
    assert sorted(hosts) == sorted(survey(["-i", inventory, str(SITE)]).hosts)
    assert hosts == ["rc", "rs", "office"]
    # The other playbooks only ask.
    assert {job.playbook.stem for job in fleet.jobs} <= {"site", "status", "gate"}
    for job in brought:
        assert (job.check, job.inventories) == (False, resolve([inventory]))
        assert set(job.variables) == {
            "ktcp_relays_group",
            "ktcp_procfs_files",
            "ktcp_module_drain_deadline",
            "ktcp_undo_run",
        }
        assert job.variables["ktcp_relays_group"] == "relays"


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        # Names the state that is saved before a change, and nothing else.
        ("ktcp_undo_run", {"roles/ktcp_undo"}),
        # How long a change waits, not what it changes.
        ("ktcp_module_drain_deadline", {"roles/ktcp_module"}),
        # What to read.
        ("ktcp_procfs_files", set()),
    ],
)
def test_what_only_a_rollout_sets_decides_nothing_about_the_end(
    name: str, readers: set[str]
) -> None:
    root = collection_root()
    files = [path for path in root.glob("roles/*/*/*.yml") if path.parent.name != "meta"]
    found = [path.relative_to(root) for path in files if name in path.read_text(encoding="utf-8")]
    assert len(files) > 30
    assert {"/".join(path.parts[:2]) for path in found} == readers


def test_a_limit_holds_for_edges_too(inventory: str, fleet: Fleet) -> None:
    limited = ["mesh", "rollout", "-i", inventory, "--limit"]
    assert main.run([*limited, "rs"]) == 0
    assert main.run([*limited, "rs,office"]) == 0
    site = [job.limit for job in fleet.jobs if job.playbook == SITE]
    assert site == ["rs", "rs", "office"]
