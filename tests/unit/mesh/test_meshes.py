# SPDX-License-Identifier: GPL-2.0-only
"""Several meshes in one inventory: the commands, and the inventory under a real Ansible."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops import console
from ktcp_ops.cli import main, workers
from ktcp_ops.errors import InvalidMeshError, UsageError
from ktcp_ops.mesh.inventory.inventory import load, load_all
from ktcp_ops.mesh.inventory.reader import read, read_all
from ktcp_ops.mesh.journal.journal import Journal
from ktcp_ops.mesh.observation.status import READ_TASK, variables
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.run import hosts, inventory
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult
from tests.unit.mesh.conftest import KEY, MESH, make_description, two_descriptions
from tests.unit.mesh.fleet import Fleet

LAB, PROD = ["rc", "rs"], ["pc", "ps"]
MEMBERS = {"ktcp_relays_lab": LAB, "ktcp_relays_prod": PROD}


class Both(Fleet):
    """The relays of both meshes; a job without a limit is about a whole mesh."""

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        whole = MEMBERS.get(str(job.variables.get("ktcp_relays_group")), [])
        return super().run(replace(job, limit=job.limit or ",".join(whole)), reporter)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Both:
    """The relays that the commands work on, of an inventory with two meshes."""
    fleet = Both()
    data = [description.to_data() for description in two_descriptions()]
    monkeypatch.setattr(inventory, "export", lambda _: {"ktcp_descriptions": data})
    monkeypatch.setattr(workers, "make_engine", lambda: fleet)
    monkeypatch.setattr(hosts, "hosts_of", lambda job: (job.limit or "").split(","))
    return fleet


@pytest.fixture
def inv(tmp_path: Path) -> str:
    """The inventory's name."""
    return str(tmp_path)


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The printed JSON."""
    return dict(json.loads(capsys.readouterr().out))


def test_of_one_mesh_nobody_needs_the_name() -> None:
    (mesh,) = read_all([make_description()])
    assert (mesh.name, mesh) == ("", read(make_description()))
    assert variables(mesh)["ktcp_relays_group"] == "relays"
    assert "ktcp_edges_group" not in variables(mesh)
    assert [each.name for each in read_all(two_descriptions())] == ["lab", "prod"]


@pytest.mark.usefixtures("fleet")
def test_each_is_validated_and_one_can_be_named(
    inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "validate", "-i", inv]) == 0
    said = f"{inv}: the mesh is valid: 2 relays, 1 pair, 1 path"
    assert capsys.readouterr().out.splitlines() == ["mesh lab", said, "", "mesh prod", said, ""]
    assert main.run(["mesh", "validate", "-i", inv, "--mesh", "prod"]) == 0
    assert capsys.readouterr().out == f"{said}\n"
    assert main.run(["mesh", "validate", "-i", inv, "-o", "json"]) == 0
    told = answer(capsys)
    assert told["exit_code"] == 0
    assert {name: each["valid"] for name, each in told["meshes"].items()} == {
        "lab": True,
        "prod": True,
    }
    assert main.run(["mesh", "validate", "-i", inv, "--mesh", "test"]) == 2
    assert "--mesh test: there is no such mesh; write lab or prod" in capsys.readouterr().err


@pytest.mark.usefixtures("fleet")
def test_the_only_mesh_may_be_named(
    inv: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = replace(make_description(), group="prod").to_data()
    monkeypatch.setattr(inventory, "export", lambda _: {"ktcp_descriptions": [alone]})
    assert main.run(["mesh", "validate", "-i", inv, "--mesh", "prod"]) == 0
    assert capsys.readouterr().out.startswith(f"{inv}: the mesh is valid")
    assert main.run(["mesh", "validate", "-i", inv, "--mesh", "lab"]) == 2


def test_each_is_asked_about_its_own_relays(
    fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.fates["status", "ps"] = "unreachable"
    assert main.run(["mesh", "status", "-i", inv, "-o", "json"]) == 4
    told = answer(capsys)
    assert {name: list(each["relays"]) for name, each in told["meshes"].items()} == {
        "lab": LAB,
        "prod": PROD,
    }
    assert [each["exit_code"] for each in told["meshes"].values()] == [0, 4]
    assert told["exit_code"] == 4
    groups = [(job.variables["ktcp_relays_group"], job.hosts) for job in fleet.jobs]
    assert groups == [("ktcp_relays_lab", tuple(LAB)), ("ktcp_relays_prod", tuple(PROD))]


@pytest.mark.usefixtures("fleet")
def test_a_plan_of_a_relay_is_of_its_mesh(inv: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "plan", "-i", inv, "--relay", "ps", "-o", "json"]) == 0
    assert list(answer(capsys)["relays"]) == ["ps"]
    assert main.run(["mesh", "plan", "-i", inv, "--relay", "nobody"]) == 2
    assert "nobody: not in the mesh" in capsys.readouterr().err


def test_a_limit_chooses_meshes(fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "drain", "-i", inv, "--limit", "pc", "-o", "json"]) == 0
    assert list(answer(capsys)["hosts"]) == ["pc"]
    assert main.run(["mesh", "drain", "-i", inv, "--limit", "nobody"]) == 2
    assert "--limit nobody: selects no host of a mesh" in capsys.readouterr().err
    assert [name for name, _ in fleet.played] == ["drain"]


def test_meshes_are_rolled_out_one_after_the_other_and_have_a_journal_each(
    fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "rollout", "-i", inv, "-o", "json"]) == 0
    told = answer(capsys)
    assert [each["outcome"] for each in told["meshes"].values()] == ["done", "done"]
    changed = [host for name, host in fleet.played if name == "site"]
    assert (sorted(changed[:2]), sorted(changed[2:])) == (LAB, PROD)
    for name in ("lab", "prod"):
        assert [run.action for run in Journal.of([inv], name).runs()[0]] == ["rollout"]
    assert Journal.of([inv]).runs()[0] == []

    with Journal.of([inv], "lab").alone():
        assert main.run(["mesh", "drain", "-i", inv, "--mesh", "prod"]) == 0
        assert main.run(["mesh", "drain", "-i", inv]) == 1
    assert "mesh lab: another command is changing this mesh" in capsys.readouterr().err
    assert main.run(["mesh", "history", "-i", inv, "-o", "json"]) == 0
    told = answer(capsys)
    assert {
        name: [run["action"] for run in each["runs"]] for name, each in told["meshes"].items()
    } == {"lab": ["rollout"], "prod": ["drain", "drain", "rollout"]}
    one = told["meshes"]["prod"]["runs"][0]["id"]
    assert main.run(["mesh", "history", "-i", inv, "--run", one, "-o", "json"]) == 0
    assert [run["id"] for run in answer(capsys)["runs"]] == [one]
    assert main.run(["mesh", "history", "-i", inv, "--mesh", "lab"]) == 0
    assert "drain" not in capsys.readouterr().out
    for options in (["--mesh", "test"], ["--run", "x"]):
        assert main.run(["mesh", "history", "-i", inv, *options]) == 2


def test_after_a_mesh_that_stopped_none_is_begun(
    fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.fates["site", "rs"] = "failed"
    assert main.run(["mesh", "rollout", "-i", inv, "-o", "json"]) == 5
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (list(told["meshes"]), told["not_begun"]) == (["lab"], ["prod"])
    assert "mesh prod: not begun, because of mesh lab" in said.err
    assert not {host for _, host in fleet.played} & set(PROD)
    # What does not go in waves goes on.
    fleet.fates["drain", "rs"] = "failed"
    assert main.run(["mesh", "drain", "-i", inv, "-o", "json"]) == 1
    told = answer(capsys)
    assert [each["exit_code"] for each in told["meshes"].values()] == [1, 0]


def test_after_ctrl_c_nothing_is_begun(
    fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.before = lambda _: RunResult(hosts=(), complete=False, canceled=True)
    assert main.run(["mesh", "drain", "-i", inv, "-o", "json"]) == 130
    assert answer(capsys)["not_begun"] == ["prod"]
    assert len(fleet.jobs) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollout", "--canary", "rc"], "--canary: is about one mesh"),
        (["upgrade", "--resume"], "--resume: is about one mesh"),
        (["keys", "rotate", "--check"], "has several meshes, and this is about one: add --mesh"),
        (["bundle", "--file", "x.tar.gz"], "--file: is one archive, of one mesh"),
        (["remove", "--host", "gone", "--yes"], "--host gone: is in no mesh; say which it has"),
    ],
)
def test_what_is_about_one_mesh_wants_its_name(
    arguments: list[str],
    said: str,
    fleet: Both,
    inv: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["mesh", *arguments, "-i", inv]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert fleet.jobs == []


def test_a_host_is_removed_from_its_mesh(
    fleet: Both,
    inv: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    questions: list[str] = []
    monkeypatch.setattr(console, "confirm", questions.append)
    assert main.run(["mesh", "remove", "-i", inv]) == 2
    [question] = questions
    assert question.startswith("Remove KTCP from all 4 relays of meshes lab and prod and ")
    assert main.run(["mesh", "remove", "-i", inv, "--host", "pc", "--yes", "-o", "json"]) == 0
    assert list(answer(capsys)["hosts"]) == ["pc"]
    assert fleet.jobs[-1].variables["ktcp_relays_group"] == "ktcp_relays_prod"
    assert [run.action for run in Journal.of([inv], "prod").runs()[0]] == ["remove"]
    assert main.run(["mesh", "remove", "-i", inv, "--mesh", "lab", "--host", "gone", "--yes"]) == 0
    assert fleet.jobs[-1].variables["ktcp_relays_group"] == "gone"


def test_status_is_watched_in_one_table(
    fleet: Both, inv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(job: Job) -> RunResult | None:
        if len(fleet.jobs) > 2:
            raise KeyboardInterrupt
        relays = MEMBERS[job.variables["ktcp_relays_group"]]
        asked = {host: {"stdout": "/proc/net/ktcp/version:module 0.1.0\n"} for host in relays}
        found = tuple(HostResult(host=host, state=HostState.OK) for host in relays)
        return RunResult(hosts=found, complete=True, outputs={f"{READ_TASK} now": asked})

    fleet.before = twice
    assert main.run(["mesh", "status", "-i", inv, "--watch", "--interval", "1"]) == 130
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["RELAY", *LAB, *PROD, "(all)"]


# Under a real Ansible.


def relays_of(*names: str) -> dict[str, Any]:
    """The hosts of a group, with addresses that other groups may have, too."""
    return {
        "hosts": {
            name: {"ktcp_address": f"10.77.2.{number}", "ansible_connection": "local"}
            for number, name in enumerate(names, start=1)
        }
    }


def write(directory: Path, **changed: object) -> str:
    """Write an inventory with the meshes lab and prod; a double underscore is a slash."""
    prod = yaml.safe_load(json.dumps(MESH).replace('"rc"', '"pc"').replace('"rs"', '"ps"'))
    files: Mapping[str, object] = {
        "hosts": {
            "all": {
                "children": {
                    "relays": {"children": {"lab": {}, "prod": {}}},
                    "lab": relays_of(*LAB),
                    "prod": relays_of(*PROD),
                },
                "hosts": {"client": {"ansible_connection": "local"}, "office": {}},
            }
        },
        "group_vars__lab__mesh": {"ktcp_mesh": MESH},
        "group_vars__lab__keys": {"ktcp_keys": {1: KEY}},
        "group_vars__prod__mesh": {"ktcp_mesh": prod},
        "group_vars__prod__keys": {"ktcp_keys": {1: KEY[::-1]}},
        **changed,
    }
    for name, data in files.items():
        path = directory / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(data))
    (directory / "mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")
    return str(directory)


def test_a_relay_gets_what_its_own_mesh_says(tmp_path: Path) -> None:
    name = write(tmp_path)
    meshes = load_all([name])
    assert {mesh.name: sorted(mesh.relays) for mesh in meshes} == {"lab": LAB, "prod": PROD}
    assert [Path(mesh.latency.path).name for mesh in meshes] == [
        "latency-lab.txt",
        "latency-prod.txt",
    ]
    assert load([name], "prod").name == "prod"
    with pytest.raises(UsageError, match="add --mesh lab or --mesh prod"):
        load([name])
    found = json.loads(inventory.ask([name]), object_hook=inventory.unwrap)
    for mesh in meshes:
        assert sorted(found[f"ktcp_relays_{mesh.name}"]["hosts"]) == sorted(mesh.relays)
        for relay, node in plan(mesh).items():
            assert found["_meta"]["hostvars"][relay]["ktcp_node"] == json.loads(json.dumps(node))
    # Plain Ansible is about all relays, the commands are about those of one mesh.
    job = Job(title="site", playbook=playbook("site.yml"), inventories=(name,))
    assert sorted(hosts.hosts_of(job)) == sorted(LAB + PROD)
    assert sorted(hosts.hosts_of(replace(job, variables=variables(meshes[1])))) == PROD


def test_edges_are_of_one_mesh(tmp_path: Path) -> None:
    edges = {"office": {"relay": "rc", "via": ["10.77.2.1", "fd77::1"]}}
    name = write(tmp_path, group_vars__lab__mesh={"ktcp_mesh": {**MESH, "edges": edges}})
    lab, prod = load_all([name])
    job = Job(title="remove", playbook=playbook("teardown.yml"), inventories=(name,))
    assert sorted(hosts.hosts_of(job)) == sorted(["office", *LAB, *PROD])
    for mesh, own in ((lab, ["office", *LAB]), (prod, PROD)):
        assert sorted(hosts.hosts_of(replace(job, variables=variables(mesh)))) == own


def test_what_is_not_apart_is_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path / "inv",
        hosts={
            "all": {
                "children": {
                    "relays": {"children": {"lab": {}, "prod": {}}, **relays_of("rx")},
                    "lab": relays_of(*LAB),
                    "prod": relays_of(*PROD, "rc"),
                },
                "hosts": {"client": {}},
            }
        },
        group_vars__all={"ktcp_keys": {1: KEY}},
        group_vars__lab__keys={},
        group_vars__prod__keys={},
    )
    written = (tmp_path / "inv/hosts.yml").read_text()

    def line(address: str, *, after: str) -> str:
        place = written.index(address, written.index(after))
        return f"inv/hosts.yml:{written.count(chr(10), 0, place) + 1}"

    with pytest.raises(InvalidMeshError) as caught:
        load_all(["inv"])
    assert [text.split(": ", 2)[:2] for text in caught.value.problems] == [
        [line("10.77.2.1", after="rx:"), "hostvars.rx"],
        [line("10.77.2.3", after="rc:"), "hostvars.rc"],
        ["inv/group_vars/all.yml:2", "ktcp_keys.1"],
    ]


def test_a_mesh_of_all_hosts_has_none_beside_it(tmp_path: Path) -> None:
    name = write(tmp_path, group_vars__all={"ktcp_mesh": MESH})
    with pytest.raises(InvalidMeshError, match="is set for group all and for lab, prod; keep it"):
        load_all([name])


def test_the_keys_of_one_mesh_are_rotated_in_its_own_files(tmp_path: Path, fleet: Both) -> None:
    with pytest.MonkeyPatch.context() as real:
        real.setattr(inventory, "export", inventory_export)
        name = write(tmp_path / "inv")
        before = {path: path.read_text() for path in Path(name).rglob("*.yml")}
        rotate = ["mesh", "keys", "rotate", "-i", name, "--mesh", "prod", "--yes"]
        assert main.run([*rotate, "--until", "add"]) == 0
    changed = [path for path, text in before.items() if path.read_text() != text]
    assert changed == [Path(name) / "group_vars/prod/keys.yml"]
    assert sorted({host for _, host in fleet.played if "," not in host}) == PROD


inventory_export = inventory.export
"""The real one, which the fixture replaces."""
