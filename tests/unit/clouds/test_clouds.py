# SPDX-License-Identifier: GPL-2.0-only
"""The clouds' inventories: the same hosts there give the same mesh as the static example."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from ktcp_ops.mesh.inventory.inventory import load
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.run.environment import ansible_environment
from ktcp_ops.run.hosts import survey
from ktcp_ops.run.inventory import unwrap
from tests.unit.clouds import collections

ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).parent / "recorded"
PLUGINS = {"aws": "aws_ec2", "gcp": "gcp_compute", "azure": "azure_rm"}
CONSTRUCTED = {"hostvar_expressions": "compose", "conditional_groups": "groups"}
"""What the plugin ``constructed`` calls the options that one of the clouds' names otherwise."""


@pytest.fixture(autouse=True)
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of the example's vault."""
    path = tmp_path / "password"
    path.write_text("example\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(path))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A cloud of this process's own, on a loopback port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty account in that cloud, for us and for Ansible."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(collections.ensure()))


def ansible(*arguments: str | Path) -> str:
    """Run one of Ansible's programs as a user of a checkout would."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", *map(str, arguments)],
        env={**os.environ, **ansible_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def options(cloud: str) -> dict[str, Any]:
    """The options that the committed inventory of a cloud gives its plugin."""
    path = ROOT / f"inventories/{cloud}/{PLUGINS[cloud]}.yml"
    return dict(yaml.safe_load(path.read_text()))


def recorded(cloud: str) -> dict[str, dict[str, Any]]:
    """The hosts as a cloud's plugin gives them."""
    return dict(yaml.safe_load((RECORDED / f"{cloud}.yml").read_text())["all"]["hosts"])


def groups(listing: dict[str, Any]) -> dict[str, set[str]]:
    """The groups that the mesh, or its users, use."""
    names = [name for name in listing if name in ("relays", "edges") or name.startswith("site")]
    return {name: set(listing[name]["hosts"]) for name in names}


@cache
def example() -> dict[str, Node]:
    """The variables of each relay of the static example."""
    return plan(load([str(ROOT / "inventories/example")]))


def own_addresses(nodes: dict[str, Node]) -> tuple[dict[str, Any], set[str]]:
    """Separate the relays' own addresses, to which nothing is steered, from the variables."""
    plain: dict[str, Any] = {}
    own: set[str] = set()
    for name, node in nodes.items():
        sets = {found["name"]: found["entries"] for found in node["sets4"]}
        own.update(sets.pop(node["relays4"], ()))
        plain[name] = {**node, "sets4": sets, "relays4": bool(node["relays4"])}
    return plain, own


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copies the example and gives it the files of a cloud, as docs/clouds.md says."""

    def copy(cloud: str) -> Path:
        inventory = tmp_path / "mine"
        shutil.copytree(ROOT / "inventories/example", inventory)
        (inventory / "hosts.yml").unlink()
        shutil.copytree(ROOT / "inventories" / cloud, inventory, dirs_exist_ok=True)
        return inventory

    return copy


def check(inventory: Path) -> None:
    """Check that hosts and each relay's variables are those of the example."""
    (found, own), (wanted, public) = map(own_addresses, (plan(load([str(inventory)])), example()))
    assert found == wanted
    # Here Ansible connects to other addresses, which count as the relays' own as well.
    assert own == public | {"10.1.0.10", "10.2.0.20"}
    listed = json.loads(ansible("inventory", "-i", inventory, "--list"), object_hook=unwrap)
    assert groups(listed) == {
        "relays": {"tokyo", "frankfurt"},
        "edges": {"probe"},
        "site_apac": {"tokyo", "probe"},
    }
    variables = listed["_meta"]["hostvars"]
    hosts = {name: variables[name]["ansible_host"] for name in ("tokyo", "frankfurt", "probe")}
    assert hosts == {"tokyo": "10.1.0.10", "frankfurt": "10.2.0.20", "probe": "10.1.0.30"}
    assert variables["probe"]["ktcp_address"] == "10.1.0.30"
    assert "ktcp_address6" not in variables["probe"]
    played = survey(["-i", str(inventory), str(ROOT / "playbooks/site.yml")]).hosts
    assert set(listed["relays"]["hosts"]) == set(played)


@pytest.mark.parametrize("cloud", PLUGINS)
def test_recorded_hosts_make_the_mesh_of_the_example(
    cloud: str, copied: Callable[[str], Path]
) -> None:
    inventory = copied(cloud)
    (inventory / f"{PLUGINS[cloud]}.yml").unlink()
    shutil.copy(RECORDED / f"{cloud}.yml", inventory / "10-hosts.yml")
    renamed = {CONSTRUCTED.get(name, name): value for name, value in options(cloud).items()}
    kept = {name: renamed[name] for name in ("compose", "groups", "keyed_groups")}
    (inventory / "20-constructed.yml").write_text(
        yaml.safe_dump({"plugin": "ansible.builtin.constructed", "strict": False, **kept})
    )
    check(inventory)


def test_the_plugins_know_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(collections.ensure()))
    names = {cloud: options(cloud)["plugin"] for cloud in PLUGINS}
    described = json.loads(ansible("doc", "-t", "inventory", "--json", *names.values()))
    for cloud, name in names.items():
        known = set(described[name]["doc"]["options"]) | {"plugin"}
        assert set(options(cloud)) - known == set(), cloud


@cache
def image(region: str) -> str:
    """Any image of a region."""
    found = boto3.client("ec2", region_name=region).describe_images()
    return str(found["Images"][0]["ImageId"])


def launch(name: str, variables: dict[str, Any], **tags: str) -> str:
    """Start an instance like a recorded one; give its identity."""
    region = "eu-central-1" if name == "frankfurt" else "ap-northeast-1"
    ec2 = boto3.client("ec2", region_name=region)
    network = variables["private_ip_address"].rsplit(".", 1)[0] + ".0/24"
    vpc = ec2.create_vpc(CidrBlock=network)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=network)["Subnet"]["SubnetId"]
    pairs = [{"Key": k, "Value": v} for k, v in {**variables["tags"], **tags}.items()]
    made = ec2.run_instances(
        ImageId=image(region),
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        PrivateIpAddress=variables["private_ip_address"],
        TagSpecifications=[{"ResourceType": "instance", "Tags": pairs}],
    )
    return str(made["Instances"][0]["InstanceId"])


@pytest.mark.usefixtures("aws")
def test_instances_of_an_aws_account_make_the_mesh_of_the_example(
    copied: Callable[[str], Path],
) -> None:
    """The cloud here assigns neither public nor IPv6 addresses, so tags name them."""
    hosts = recorded("aws")
    launch("tokyo", hosts["tokyo"])
    public = {"ktcp_address": "198.51.100.20", "ktcp_address6": "2001:db8:2::20"}
    launch("frankfurt", hosts["frankfurt"], **public)
    launch("probe", hosts["probe"])
    launch("tokyo", hosts["tokyo"], Name="osaka", ktcp_mesh="another")
    stopped = launch("tokyo", hosts["tokyo"], Name="nagoya")
    boto3.client("ec2", region_name="ap-northeast-1").stop_instances(InstanceIds=[stopped])
    check(copied("aws"))
