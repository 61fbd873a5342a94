# SPDX-License-Identifier: GPL-2.0-only
"""The inventory plugin under a real Ansible: kinds of inventories, and errors as sentences."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops.errors import InvalidMeshError, UsageError
from ktcp_ops.mesh.inventory.inventory import load
from ktcp_ops.mesh.inventory.selection import about_one
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.run.environment import ansible_environment, playbook
from ktcp_ops.run.inventory import broken_files, complaints, doubled_keys
from ktcp_ops.run.job import Job
from tests.unit.mesh.conftest import KEY, MESH, RELAYS

HOSTS = {
    "all": {
        "children": {
            "relays": {"hosts": RELAYS},
            "edges": {"hosts": {"client": {}, "server": {}}},
        }
    }
}


def write(directory: Path, **files: object) -> str:
    """Write an inventory directory; a double underscore in a name is a slash."""
    for name, data in {"mesh_ktcp": {"plugin": "ktcp_mesh"}, **files}.items():
        if data is None:
            continue
        path = directory / (name.replace("__", "/").replace("_ktcp", ".ktcp") + ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return str(directory)


def hostvars(inventory: str, host: str) -> dict[str, Any]:
    """Ask Ansible for the variables of a host, as any playbook would see them."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "inventory", "-i", inventory, "--host", host],
        env={**os.environ, **ansible_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_static_inventory(tmp_path: Path) -> None:
    inventory = write(
        tmp_path,
        hosts=HOSTS,
        group_vars__all__mesh={"ktcp_mesh": MESH},
        group_vars__all__keys={"ktcp_keys": {1: KEY}},
    )
    nodes = plan(load([inventory]))
    assert hostvars(inventory, "rc")["ktcp_node"] == json.loads(json.dumps(nodes["rc"]))
    assert "ktcp_node" not in hostvars(inventory, "client")
    assert "ktcp_descriptions" not in hostvars(inventory, "client")


def test_the_mesh_in_the_inventorys_own_variables(tmp_path: Path) -> None:
    """As written by a test driver that puts everything into one file."""
    vms = {"all": {**HOSTS["all"], "vars": {"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}}}}
    write(tmp_path, mesh_ktcp=None)
    (tmp_path / "10-vms.yml").write_text(yaml.safe_dump(vms))
    (tmp_path / "20-mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")
    assert sorted(load([str(tmp_path)]).relays) == ["rc", "rs"]


def test_the_mesh_of_a_group(tmp_path: Path) -> None:
    inventory = write(
        tmp_path, hosts=HOSTS, group_vars__relays={"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}}
    )
    assert load([inventory]).key == 1


def test_templates_host_vars_and_several_inventories(tmp_path: Path) -> None:
    hosts = write(
        tmp_path / "hosts",
        mesh_ktcp=None,
        hosts=HOSTS,
        host_vars__rs={"ktcp_address": "{{ private_ip }}", "private_ip": "10.9.9.9"},
    )
    mesh = write(
        tmp_path / "mesh",
        group_vars__all={
            "ktcp_mesh": {**MESH, "ports": {"relay": "{{ relay_port }}"}},
            "ktcp_keys": {1: "{{ a_key }}"},
            "relay_port": 5600,
            "a_key": KEY,
        },
    )
    found = load([hosts, mesh])
    assert found.ports.relay == 5600
    assert str(found.relays["rs"].ktcp_address) == "10.9.9.9"
    assert found.keys == {1: KEY}


def test_measured_round_trips_lie_beside_the_plugins_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    auto = {**MESH["paths"][0], "via": "auto", "exits": ["rs", "rx"]}
    exits = {**MESH["exits"], "rx": MESH["exits"]["rs"]}
    relays = {**RELAYS, "rx": {"ktcp_address": "10.77.2.3"}}
    inventory = write(
        tmp_path / "inventory",
        hosts={"all": {"children": {"relays": {"hosts": relays}}, "hosts": {"client": {}}}},
        group_vars__all={
            "ktcp_mesh": {**MESH, "paths": [auto], "exits": exits},
            "ktcp_keys": {1: KEY},
        },
    )
    mesh = load([inventory])
    assert mesh.latency.path == "inventory/latency.txt"
    assert mesh.paths[0].via == ("rs",)
    (tmp_path / mesh.latency.path).write_text("ktcp-latency 1\nrtt rc rx 10000\n")
    assert load([inventory]).paths[0].via == ("rx",)
    node = hostvars(inventory, "rc")["ktcp_node"]
    assert node["conf"]["routes"] == ["add mark 0x101 via 10.77.2.3:5565"]
    (tmp_path / mesh.latency.path).write_text("ktcp-latency 1\nrtt rc\n")
    with pytest.raises(InvalidMeshError, match=r"inventory/latency\.txt:2: 'rtt rc' is not"):
        load([inventory])


def test_a_key_in_a_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    vault = subprocess.run(
        [sys.executable, "-m", "ansible", "vault", "encrypt_string", KEY],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    indented = vault.replace("\n", "\n    ")
    inventory = write(
        tmp_path / "inventory",
        hosts=HOSTS,
        group_vars__all__mesh={"ktcp_mesh": MESH},
        group_vars__all__keys=f"ktcp_keys:\n  1: {indented}\n",
    )
    assert load([inventory]).keys == {1: KEY}
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    with pytest.raises(InvalidMeshError) as caught:
        load([inventory])
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in caught.value.message
    assert len(caught.value.problems) == 1
    password.write_text("open barley\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    with pytest.raises(InvalidMeshError) as caught:
        load([inventory])
    [problem] = caught.value.problems
    assert problem.startswith(
        f"{inventory}/group_vars/all/keys.yml: cannot be decrypted: the vault password is wrong; "
    )


def test_errors_name_the_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path / "inv",
        hosts=HOSTS,
        group_vars__all__mesh=(
            "ktcp_mesh:\n  key: 1\n  ports: {client: 0}\n  paths:\n    - name: web\n"
            "      ingress: rx\n      via: [rs]\n      destinations: [10.0.0.0/8]\n"
        ),
        group_vars__all__keys={"ktcp_keys": {1: "short"}},
        host_vars__rc={"ktcp_address": "rc.example"},
    )
    with pytest.raises(InvalidMeshError) as caught:
        load(["inv"])
    starts = [text.split(": ", 2)[:2] for text in caught.value.problems]
    assert ["inv/group_vars/all/mesh.yml:3", "ktcp_mesh.ports.client"] in starts
    assert ["inv/group_vars/all/mesh.yml:6", "ktcp_mesh.paths[0].ingress"] in starts
    assert ["inv/group_vars/all/keys.yml:2", "ktcp_keys.1"] in starts
    assert ["inv/host_vars/rc.yml:1", "hostvars.rc.ktcp_address"] in starts
    # The same sentences stop a playbook.
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "inventory", "-i", "inv", "--list"],
        env={**os.environ, **ansible_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    for problem in caught.value.problems:
        assert problem in done.stderr


def test_no_plugin_file(tmp_path: Path) -> None:
    inventory = write(tmp_path, mesh_ktcp=None, hosts=HOSTS)
    with pytest.raises(InvalidMeshError, match=r"add it with the line `plugin: ktcp_mesh`"):
        load([inventory])


def test_a_second_group_is_a_second_mesh(tmp_path: Path) -> None:
    inventory = write(
        tmp_path,
        hosts=HOSTS,
        group_vars__relays={"ktcp_mesh": MESH},
        group_vars__edges={"ktcp_mesh": {}},
    )
    with pytest.raises(InvalidMeshError, match="group edges has no host that is in group relays"):
        load([inventory])


def test_an_inventory_that_is_no_yaml(tmp_path: Path) -> None:
    inventory = write(tmp_path, hosts="all: [\n")
    with pytest.raises(InvalidMeshError) as caught:
        load([inventory])
    [problem] = caught.value.problems
    assert problem.startswith(f"{inventory}/hosts.yml:2: is not YAML: ")


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    inventory = write(
        tmp_path,
        hosts=HOSTS,
        group_vars__all__mesh={"ktcp_mesh": MESH},
        group_vars__all__keys=f"ktcp_keys:\n  1: {KEY}\n  2: {KEY[::-1]}\n  1: {KEY}\n",
    )
    with pytest.raises(InvalidMeshError) as caught:
        load([inventory])
    assert caught.value.problems == (
        (
            f"{inventory}/group_vars/all/keys.yml:4: the key 1 is in line 2 already, "
            "and only the last counts; remove one of the two"
        ),
    )


def test_keys_of_two_mappings_may_be_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: {b: 1}\nb: [{b: 2}, {b: 3}]\n---\na: 1\n")
    assert list(doubled_keys(file)) == []
    file.write_text("x: [{a: 1, a: 2}]\n")
    assert [text.partition(": ")[0] for text in doubled_keys(file)] == [f"{file}:1"]


def test_every_file_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    inventory = write(tmp_path)
    variables = Path(inventory) / "group_vars/all"
    variables.mkdir(parents=True)
    (variables / "keys.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    (variables / "secret.yml").write_text("a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n")
    assert list(broken_files(Path(inventory))) == []
    (variables / "one.yml").write_text("a: b\nc: [\n")
    (variables / "other.yml").write_bytes(b"a: \xff\n")
    broken = list(broken_files(Path(inventory) / "hosts.yml"))
    assert broken == list(broken_files(Path(inventory)))
    assert broken[0].startswith(f"{variables}/one.yml:3: is not YAML: ")
    assert broken[1].startswith(f"{variables}/other.yml: cannot be read: ")


def test_an_inventory_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="nowhere: there is no such inventory"):
        load(["nowhere"])


def test_ansible_that_says_nothing_is_no_empty_message() -> None:
    assert complaints("inv", "") == ["inv: cannot be read: Ansible gave no reason"]


@pytest.mark.parametrize("name", ["lab", "example"])
def test_the_inventories_of_the_project_are_valid(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]
    (tmp_path / "ssh_config").touch()
    (tmp_path / "password").write_text("example\n")  # as the example's README says
    monkeypatch.setenv("KTCP_LAB_DIR", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    mesh = load([str(root / "inventories" / name)])
    assert mesh.paths
    assert plan(mesh)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.9",
        "2001:db8::9",
        # A group has the same name: the host wins, or KTCP would be removed from the whole group.
        "relays",
    ],
)
def test_ansible_takes_a_host_that_no_inventory_knows_for_one(host: str, tmp_path: Path) -> None:
    inventory = write(
        tmp_path,
        hosts=HOSTS,
        group_vars__all__mesh={"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}},
    )
    removal = Job(
        title="remove",
        playbook=playbook("teardown.yml"),
        inventories=(inventory, f"{host},"),
        limit=host,
        variables={"ktcp_relays_group": host},
    )
    assert about_one(removal, host).hosts == (host,)
